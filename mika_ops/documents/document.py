"""The shape that all of Mika's documents share, and the one way in which a record changes.

A document is one JSON object in a collection. Most carry a nested ``record``; some of the record's fields are
repeated at the document's top level (*mirrored*) so that the database can index them.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

from mika_ops.timestamps import Timestamp

Document: TypeAlias = dict[str, Any]
"""A JSON object as Python's ``json`` reads it. Rules never change one in place."""


class MalformedDocument(ValueError):
    """A document whose shape no rule can read. The message says what is wrong, without any of its values."""


class _Absent:
    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Final = _Absent()
"""In a patch: remove this key."""


def record_of(document: Document) -> Document:
    """Return the document's record. Raises ``MalformedDocument`` where it has none."""
    return object_at(document, "record")


def object_at(document: Document, key: str) -> Document:
    """Return the object under ``key``. Raises ``MalformedDocument`` where there is none."""
    value = document.get(key)
    if not isinstance(value, dict):
        raise MalformedDocument(f"{key} is {_described(value)}, not an object")
    return value


def patched(base: Mapping[str, Any], patch: Mapping[str, Any]) -> Document:
    """Return ``base`` with the patch's values set and its ``ABSENT`` keys removed; all other keys stay in order."""
    result = {**base, **patch}
    return {key: value for key, value in result.items() if value is not ABSENT}


def with_record(document: Document, patch: Mapping[str, Any], *, mirrored: Sequence[str], now: Timestamp) -> Document:
    """Change a document's record: patch it, copy the mirrored fields up again, and stamp ``updatedAt``.

    Copying up also removes a top-level field that the record does not have (behaviour, section 1).
    """
    record = patched(record_of(document), patch)
    copied_up = {field: record.get(field, ABSENT) for field in mirrored}
    return patched(document, {**copied_up, "record": record, "updatedAt": now})


def metadata_of(record: Mapping[str, Any]) -> Document:
    """Return the record's metadata, or an empty object where it has none that is one."""
    metadata = record.get("metadata")
    return metadata if isinstance(metadata, dict) else {}


def _described(value: object) -> str:
    if value is None:
        return "missing"
    return {dict: "an object", list: "a list", str: "a text", bool: "true or false"}.get(type(value), "a number")


def is_storable(text: str) -> bool:
    """Say whether a database can hold a text by itself, and so be asked for it.

    JSON can hold more: a NUL, and half of a surrogate pair, which is no UTF-8.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text
