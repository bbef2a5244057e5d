"""What emails show of an order: the lines and totals in a confirmation, the number and titles in a download."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

from babel import Locale

from mika_ops.documents.document import Document, MalformedDocument, object_at
from mika_ops.email.content.money import currency_code, formatted, is_amount
from mika_ops.email.text import one_line

LONGEST_TITLE: Final = 300
LONGEST_ORDER_NUMBER: Final = 100


@dataclass(frozen=True)
class Line:
    """One line of an order, ready to print."""

    quantity: int
    title: str
    total: str


@dataclass(frozen=True)
class OrderSummary:
    """An order, ready to print; ``partial`` where ``lines`` are some, but not all, of those in its totals."""

    number: str
    lines: Sequence[Line]
    partial: bool
    subtotal: str | None
    discount: str | None
    total: str


@dataclass(frozen=True)
class OrderTitles:
    """As much of an order as could be read: its number, and what was bought."""

    number: str | None
    titles: Sequence[str]


def order_summary(order: Document, *, line_ids: Collection[str], locale: Locale) -> OrderSummary:
    """Summarize the order's lines with these ids, or all of them where none are given, and its totals.

    Raises ``MalformedDocument`` if a number, a line, a total, an amount or a currency is missing or cannot be read.
    """
    number = order.get("orderNumber")
    if not isinstance(number, str) or not number.strip():
        raise MalformedDocument("it has no order number")
    aggregate = object_at(order, "aggregate")
    lines = aggregate.get("lines")
    if not isinstance(lines, list):
        raise MalformedDocument("it has no list of lines")
    chosen = _chosen(lines, line_ids)
    totals = object_at(aggregate, "totals")
    subtotal, discount, total = (_money_at(totals, key) for key in ("subtotal", "discount", "total"))
    if total is None:
        raise MalformedDocument("its totals have no total")
    return OrderSummary(
        number=one_line(number, longest=LONGEST_ORDER_NUMBER),
        lines=[_line(line, locale) for line in chosen],
        partial=0 < len(chosen) < len(lines),
        subtotal=None if subtotal is None else formatted(*subtotal, locale),
        discount=None if discount is None or not discount[0] else formatted(-abs(discount[0]), discount[1], locale),
        total=formatted(*total, locale),
    )


def order_titles(order: Document, *, line_ids: Collection[str]) -> OrderTitles | None:
    """Read the order's number and the titles of its lines with these ids, or of all where none are given.

    What cannot be read is left out, for the email can do without; ``None`` where nothing can.
    """
    number = order.get("orderNumber")
    flat_number = one_line(number, longest=LONGEST_ORDER_NUMBER) if isinstance(number, str) else ""
    aggregate = order.get("aggregate")
    lines = aggregate.get("lines") if isinstance(aggregate, dict) else None
    chosen = _chosen(lines, line_ids) if isinstance(lines, list) else []
    titles = [title for title in map(_title, chosen) if title]
    return OrderTitles(flat_number or None, list(dict.fromkeys(titles))) if flat_number or titles else None


def _chosen(lines: Sequence[Any], line_ids: Collection[str]) -> list[Any]:
    return [line for line in lines if not line_ids or _id(line) in line_ids]


def _id(line: Any) -> str | None:
    id_ = line.get("id") if isinstance(line, dict) else None
    return id_ if isinstance(id_, str) else None


def _title(line: Any) -> str:
    item = line.get("item") if isinstance(line, dict) else None
    title = item.get("titleSnapshot") if isinstance(item, dict) else None
    return one_line(title, longest=LONGEST_TITLE) if isinstance(title, str) else ""


def _line(line: Any, locale: Locale) -> Line:
    if not isinstance(line, dict):
        raise MalformedDocument("one of its lines is not an object")
    item = object_at(line, "item")
    title = item.get("titleSnapshot")
    if not isinstance(title, str):
        raise MalformedDocument("one of its lines has no title")
    quantity = line.get("quantity")
    if not is_amount(quantity):
        raise MalformedDocument("one of its lines has no whole number as its quantity")
    amount, currency = _money(line.get("totalAmount"), item.get("currency"), "one of its lines")
    return Line(quantity, one_line(title, longest=LONGEST_TITLE) or "(no title)", formatted(amount, currency, locale))


def _money_at(totals: Document, key: str) -> tuple[int, str] | None:
    if totals.get(key) is None:
        return None
    money = object_at(totals, key)
    return _money(money.get("amount"), money.get("currency"), f"its {key}")


def _money(amount: Any, currency: Any, where: str) -> tuple[int, str]:
    if not is_amount(amount):
        raise MalformedDocument(f"{where} has no amount that is a whole number of minor units")
    code = currency_code(currency)
    if code is None:
        raise MalformedDocument(f"{where} has no currency that is known by its three letters")
    return amount, code
