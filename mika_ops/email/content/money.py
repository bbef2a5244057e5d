"""Amounts of money in minor units (cents), written for people."""

import copy
import re
from decimal import Decimal
from typing import Final, TypeGuard

from babel import Locale
from babel.numbers import format_currency, get_currency_precision, list_currencies

LARGEST_AMOUNT: Final = 2**53 - 1
"""Minor units: no larger whole number survives JSON as the storefront writes it."""

_CURRENCIES: Final = frozenset(code for code in list_currencies() if len(code) == 3)

_LETTER_BESIDE_DIGIT: Final = re.compile(r"(?<=[^\W\d_])(?=\d)|(?<=\d)(?=[^\W\d_])")
"""Where CLDR wants a space that Babel does not set, as in CHF 15.00."""

_MINOR_UNIT_DIGITS: Final = {
    "AFN": 2,
    "ALL": 2,
    "IQD": 3,
    "IRR": 2,
    "KPW": 2,
    "LAK": 2,
    "LBP": 2,
    "MMK": 2,
    "RSD": 2,
    "SLL": 2,
    "SOS": 2,
    "SYP": 2,
    "YER": 2,
}
"""ISO 4217's digits, which payment providers count in, where Babel has fewer: those that people write. With Babel's,
15.00 dinars would be shown as 1,500."""


def currency_code(value: object) -> str | None:
    """Return the currency's ISO 4217 code in capitals, or ``None`` where Babel knows no such currency."""
    code = value.upper() if isinstance(value, str) and value.isascii() else None
    return code if code in _CURRENCIES else None


def is_amount(value: object) -> TypeGuard[int]:
    """Return whether the value is a whole number of minor units."""
    return type(value) is int and abs(value) <= LARGEST_AMOUNT


def formatted(amount: int, currency: str, locale: Locale) -> str:
    """Write an amount in minor units with its currency, with as many decimals as the currency has."""
    digits = _MINOR_UNIT_DIGITS.get(currency, get_currency_precision(currency))
    pattern = copy.copy(locale.currency_formats["standard"])
    pattern.frac_prec = (digits, digits)
    value = Decimal(amount).scaleb(-digits)
    text = format_currency(value, currency, format=pattern, locale=locale, currency_digits=False)
    return _LETTER_BESIDE_DIGIT.sub("\xa0", text)
