"""Which documents a sweep takes: defined once, and read by Python for one document and by the store as SQL.

A ``Selection`` has two halves, as Mika's own queries do. ``top`` reads top-level fields, which the database indexes;
``record`` reads the inside of the document and decides. A document that ``top`` takes, and whose inside does not have
the shape that ``record`` reads, is *malformed*: it is reported and left alone.

Selections are constants. Conditions that compare with a time do not hold it: ``EMAILS.at(now)`` is the selection with
its time, as ``Select.params`` in SQLAlchemy is a statement with its parameters.

JSON ``null`` counts as absent. Texts compare by code point, which for timestamps is time order.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, TypeAlias

from mika_ops.documents.document import Document, MalformedDocument
from mika_ops.timestamps import Timestamp

Collection: TypeAlias = Literal["account", "catalog", "ledger", "ops", "session"]
COMES_LAST: Final = "~"
"""The end of the sort key of a document that comes after its equals."""

FieldType: TypeAlias = Literal["text", "number"]


@dataclass(frozen=True)
class Field:
    """A place in a document. Inside the record, a value of another type than ``type`` makes the document malformed."""

    path: tuple[str, ...]
    type: FieldType = "text"

    def read(self, document: Document) -> Any:
        """Return the value, or ``None`` where it is absent or ``null``."""
        value: Any = document
        for key in self.path:
            if not isinstance(value, dict):
                return None
            value = value.get(key)
        return value

    def checked(self, document: Document) -> Any:
        """Return the value. Raises ``MalformedDocument`` where the record has a value of another type there.

        A top-level field of another type counts as absent: the record decides what the document is.
        """
        value = self.read(document)
        if value is None or (isinstance(value, str) if self.type == "text" else _is_number(value)):
            return value
        if self.is_top_level:
            return None
        raise MalformedDocument(f"{self} is not a {self.type}")

    @property
    def is_top_level(self) -> bool:
        """Whether the field stands where the database may index it."""
        return len(self.path) == 1

    def __str__(self) -> str:
        return ".".join(self.path)


def top(name: str) -> Field:
    """Return the top-level field ``name``."""
    return Field((name,))


def record(*path: str) -> Field:
    """Return the text at ``path`` in the record."""
    return Field(("record", *path))


def record_number(*path: str) -> Field:
    """Return the number at ``path`` in the record."""
    return Field(("record", *path), "number")


@dataclass(frozen=True)
class OneOf:
    """The field is one of these texts."""

    field: Field
    values: tuple[str, ...]

    def holds(self, document: Document, _at: Timestamp | None = None) -> bool:
        value = self.field.read(document)
        return isinstance(value, str) and value in self.values


@dataclass(frozen=True)
class NoneOf:
    """The field is none of these texts; an absent one is none of them."""

    field: Field
    values: tuple[str, ...]

    def holds(self, document: Document, _at: Timestamp | None = None) -> bool:
        return not OneOf(self.field, self.values).holds(document)


@dataclass(frozen=True)
class AtMost:
    """The field is a time that is not after the selection's time; if it is absent, ``if_absent``."""

    field: Field
    if_absent: bool = False

    def holds(self, document: Document, at: Timestamp | None = None) -> bool:
        if at is None:
            raise TypeError(f"{self.field} is compared with a time, and the selection has none: use Selection.at")
        value = self.field.checked(document)
        return self.if_absent if value is None else value <= at


@dataclass(frozen=True)
class Below:
    """One number is below another. Both must be there: a document without them is malformed."""

    field: Field
    other: Field

    def holds(self, document: Document, _at: Timestamp | None = None) -> bool:
        value, other = self.field.checked(document), self.other.checked(document)
        if value is None or other is None:
            raise MalformedDocument(f"{self.field if value is None else self.other} is missing")
        return bool(value < other)


@dataclass(frozen=True)
class Blank:
    """The field is absent, or an empty text."""

    field: Field

    def holds(self, document: Document, _at: Timestamp | None = None) -> bool:
        return self.field.read(document) in (None, "")


@dataclass(frozen=True)
class Has:
    """The field is there, of whatever type; ``null`` is not there."""

    field: Field

    def holds(self, document: Document, _at: Timestamp | None = None) -> bool:
        return self.field.read(document) is not None


@dataclass(frozen=True)
class Not:
    """The condition does not hold."""

    condition: "Condition"

    def holds(self, document: Document, at: Timestamp | None = None) -> bool:
        return not self.condition.holds(document, at)


@dataclass(frozen=True)
class AllOf:
    """Every one of these holds. All are asked, so that what is malformed does not depend on their order."""

    conditions: tuple["Condition", ...]

    def holds(self, document: Document, at: Timestamp | None = None) -> bool:
        verdicts = [condition.holds(document, at) for condition in self.conditions]
        return all(verdicts)


@dataclass(frozen=True)
class AnyOf:
    """At least one of these holds. All are asked, as in ``AllOf``."""

    conditions: tuple["Condition", ...]

    def holds(self, document: Document, at: Timestamp | None = None) -> bool:
        verdicts = [condition.holds(document, at) for condition in self.conditions]
        return any(verdicts)


Condition: TypeAlias = OneOf | NoneOf | AtMost | Below | Blank | Has | Not | AllOf | AnyOf


def all_of(*conditions: Condition) -> AllOf:
    """Join conditions that must all hold."""
    return AllOf(conditions)


def any_of(*conditions: Condition) -> AnyOf:
    """Join conditions of which one must hold."""
    return AnyOf(conditions)


@dataclass(frozen=True)
class Selection:
    """The documents of one collection that a sweep takes, and their order.

    ``order_by``: the first of these fields that is present is the sort key, absent first of all; of equals, those for
    which ``first_if`` holds come first, then ids decide. ``finished`` holds for documents that ``record`` will never
    take again: the database can leave them out of an index. With ``reports_malformed`` off, a document whose record
    cannot be read is ignored: for the selections of a person's documents, since nobody can say whose it is.

    ``time``: what ``AtMost`` compares with. A selection is defined without it; ``at`` returns the selection with it.
    """

    collection: Collection
    top: Condition
    record: Condition | None = None
    order_by: tuple[Field, ...] = ()
    first_if: Condition | None = None
    finished: Condition | None = None
    reports_malformed: bool = True
    time: Timestamp | None = None

    def at(self, time: Timestamp) -> "Selection":
        """Return the selection at this time."""
        return replace(self, time=time)

    @property
    def definition(self) -> "Selection":
        """The selection without its time. It is equal at all times, so a prepared statement is found by it."""
        return replace(self, time=None)

    def takes(self, document: Document) -> bool:
        """Return whether the document is taken.

        Raises ``MalformedDocument`` if that depends on a record that cannot be read, and ``TypeError`` if a condition
        compares with a time and the selection has none.
        """
        if not self.top.holds(document, self.time):
            return False
        if self.record is None:
            return True
        if not isinstance(document.get("record"), dict):
            if not self.reports_malformed:
                return False
            raise MalformedDocument("record is missing or not an object")
        return self.record.holds(document, self.time)

    def waiting_since(self, document: Document) -> Timestamp | None:
        """Return since when a document waits: its first order field that is a text, else its creation, if known."""
        values = (field.read(document) for field in (*self.order_by, top("createdAt")))
        return next((value for value in values if isinstance(value, str) and value), None)

    def sort_key(self, document: Document, document_id: str) -> tuple[str, str]:
        """Return the key that the selection sorts by: (time or empty, marked unless ``first_if`` holds; id)."""
        values = (field.read(document) for field in self.order_by)
        time = next((value for value in values if isinstance(value, str)), "")
        is_first = self.first_if is None or self.first_if.holds(document, self.time)
        return time + ("" if is_first else COMES_LAST), document_id


def typed_fields(condition: Condition) -> Iterator[tuple[Field, bool]]:
    """Yield the fields whose type a condition relies on, each with whether it must be there."""
    match condition:
        case AtMost(field=field):
            yield field, False
        case Below(field=field, other=other):
            yield field, True
            yield other, True
        case Not(condition=inner):
            yield from typed_fields(inner)
        case AllOf(conditions=conditions) | AnyOf(conditions=conditions):
            for inner in conditions:
                yield from typed_fields(inner)
        case _:
            return


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
