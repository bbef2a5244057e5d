"""The look-ups of which an inspection asks whether an index serves them are those that maintenance makes."""

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import pytest

from mika_ops.clock import Clock
from mika_ops.documents.selection import AllOf, Collection, Condition, OneOf, Selection
from mika_ops.store.documents import Documents
from mika_ops.store.introspection import LOOKUPS
from mika_ops.store.opening import open_database
from mika_ops.store.schema.indexes import document_indexes
from mika_ops.subtasks.registry import SUBTASKS
from mika_ops.subtasks.subtask import RunOptions, outcome_of
from mika_ops.timestamps import to_datetime
from mika_ops_testing.builders import NOW
from mika_ops_testing.fakes import Api, Provider, host_of
from mika_ops_testing.sites import Sites
from mika_ops_tests.store.busy_site import fill

Seen: TypeAlias = set[tuple[Collection, frozenset[str]]]
"""The fields by which documents were looked up together, and the collection."""


def fields_looked_up(condition: Condition) -> Iterator[str]:
    """Yield the top-level fields that must be one of some texts."""
    match condition:
        case OneOf(field=field) if field.is_top_level:
            yield str(field)
        case AllOf(conditions=conditions):
            for inner in conditions:
                yield from fields_looked_up(inner)
        case _:
            return


def prefixes_of_indexes(collection: Collection) -> Iterator[tuple[str, ...]]:
    for _name, of, fields, _unique in document_indexes("mika"):
        if of == collection:
            yield from (fields[:end] for end in range(1, len(fields) + 1))


def helps(fields: Sequence[str]) -> tuple[int, int]:
    """Return how much it narrows a look-up to know these fields: the type alone narrows it least."""
    return len(set(fields) - {"type"}), len(fields)


@pytest.fixture(scope="module")
def seen(sqlite_sites: Sites) -> Seen:
    """Run everything on a busy site; return by which fields together documents were looked up."""
    seen: Seen = set()
    candidates = Documents.candidates

    def noted(documents: Documents, selection: Selection, **how: Any) -> Any:
        seen.add((selection.collection, frozenset(fields_looked_up(selection.top))))
        return candidates(documents, selection, **how)

    clock = Clock.fixed(to_datetime(NOW))
    with pytest.MonkeyPatch.context() as monkeypatch, open_database(sqlite_sites.new()) as database:
        monkeypatch.setattr(Documents, "candidates", noted)
        fill(database)
        host = host_of(database, Provider(), Api())
        for subtask in SUBTASKS:
            outcome_of(subtask, host, clock, RunOptions(account_delete_scope="complete"))
    assert {collection for collection, _fields in seen} == set(LOOKUPS)
    return seen


def test_each_look_up_of_a_run_is_asked_for_by_as_many_fields_as_an_index_has(seen: Seen) -> None:
    for collection, fields in seen:
        best = max(helps(prefix) for prefix in prefixes_of_indexes(collection) if fields >= set(prefix))
        assert any(helps(lookup) == best for lookup in map(str.split, LOOKUPS[collection]) if fields >= set(lookup)), (
            f"{collection} by {fields}"
        )


def test_none_is_asked_for_that_no_run_makes(seen: Seen) -> None:
    # By its type alone, the backlog looks for what has none, in every collection.
    unused = [
        (collection, lookup)
        for collection, lookups in LOOKUPS.items()
        for lookup in lookups
        if lookup != "type" and not any(of == collection and fields >= set(lookup.split()) for of, fields in seen)
    ]
    assert unused == []
