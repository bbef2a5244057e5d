"""Which documents a sweep takes, said once and read twice: by Python for one document, by the store as SQL.

A ``Selection`` has two halves, as Mika's own queries do. ``top`` looks at top-level fields, which the database indexes;
``record`` looks inside the document and decides. A document that ``top`` takes, and whose inside has not the shape that
``record`` reads, is *malformed*: it is reported and left alone.

JSON ``null`` counts as absent. Texts compare by code point, which for timestamps is time order.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, TypeAlias

from mika_ops.documents.document import Document, MalformedDocument
from mika_ops.timestamps import Timestamp

Collection: TypeAlias = Literal["account", "catalog", "ledger", "ops", "session"]
NOT_PREFERRED: Final = "~"
"""Ends the sort key of a document that comes after its equals."""

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

    def holds(self, document: Document) -> bool:
        value = self.field.read(document)
        return isinstance(value, str) and value in self.values


@dataclass(frozen=True)
class NoneOf:
    """The field is none of these texts; an absent one is none of them."""

    field: Field
    values: tuple[str, ...]

    def holds(self, document: Document) -> bool:
        return not OneOf(self.field, self.values).holds(document)


@dataclass(frozen=True)
class AtMost:
    """The field is a text of at most ``bound``; where it is absent, ``if_absent``."""

    field: Field
    bound: Timestamp
    if_absent: bool = False

    def holds(self, document: Document) -> bool:
        value = self.field.checked(document)
        return self.if_absent if value is None else value <= self.bound


@dataclass(frozen=True)
class Below:
    """One number is below another. Both must be there: a document without them is malformed."""

    field: Field
    other: Field

    def holds(self, document: Document) -> bool:
        value, other = self.field.checked(document), self.other.checked(document)
        if value is None or other is None:
            raise MalformedDocument(f"{self.field if value is None else self.other} is missing")
        return bool(value < other)


@dataclass(frozen=True)
class Blank:
    """The field is absent, or an empty text."""

    field: Field

    def holds(self, document: Document) -> bool:
        return self.field.read(document) in (None, "")


@dataclass(frozen=True)
class Has:
    """The field is there, of whatever type; ``null`` is not there."""

    field: Field

    def holds(self, document: Document) -> bool:
        return self.field.read(document) is not None


@dataclass(frozen=True)
class Not:
    """The condition does not hold."""

    condition: "Condition"

    def holds(self, document: Document) -> bool:
        return not self.condition.holds(document)


@dataclass(frozen=True)
class AllOf:
    """Every one of these holds. All are asked, so that what is malformed does not depend on their order."""

    conditions: tuple["Condition", ...]

    def holds(self, document: Document) -> bool:
        verdicts = [condition.holds(document) for condition in self.conditions]
        return all(verdicts)


@dataclass(frozen=True)
class AnyOf:
    """At least one of these holds. All are asked, as in ``AllOf``."""

    conditions: tuple["Condition", ...]

    def holds(self, document: Document) -> bool:
        verdicts = [condition.holds(document) for condition in self.conditions]
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

    ``order_by``: the first of these fields that is there sorts, absent first of all; of equals, those for which
    ``preferred`` holds come first, then ids decide. ``over`` holds for documents that ``record`` will never take again:
    the database can leave them out of an index. With ``reports_malformed`` off, a document whose record cannot be
    read is passed over in silence: for selections of somebody's documents, since nobody can say whose it is.
    """

    collection: Collection
    top: Condition
    record: Condition | None = None
    order_by: tuple[Field, ...] = ()
    preferred: Condition | None = None
    over: Condition | None = None
    reports_malformed: bool = True

    def takes(self, document: Document) -> bool:
        """Say whether the document is taken. Raises ``MalformedDocument`` where only its inside keeps that open."""
        if not self.top.holds(document):
            return False
        if self.record is None:
            return True
        if not isinstance(document.get("record"), dict):
            if not self.reports_malformed:
                return False
            raise MalformedDocument("record is missing or not an object")
        return self.record.holds(document)

    def sort_key(self, document: Document, document_id: str) -> tuple[str, str]:
        """Return what the selection sorts by: (time or empty, marked where it is not preferred; id)."""
        values = (field.read(document) for field in self.order_by)
        time = next((value for value in values if isinstance(value, str)), "")
        preferred = self.preferred is None or self.preferred.holds(document)
        return time + ("" if preferred else NOT_PREFERRED), document_id


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


def with_bounds(condition: Condition, bound: Callable[[Timestamp], str]) -> Condition:
    """Return a condition that is the same but for the bounds that times are held against."""
    match condition:
        case AtMost():
            return replace(condition, bound=bound(condition.bound))
        case Not(condition=inner):
            return Not(with_bounds(inner, bound))
        case AllOf(conditions=conditions):
            return AllOf(tuple(with_bounds(inner, bound) for inner in conditions))
        case AnyOf(conditions=conditions):
            return AnyOf(tuple(with_bounds(inner, bound) for inner in conditions))
        case _:
            return condition


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
