"""Sweeping a selection: in order, in batches, each document once, within limits, and in the memory of one page."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mika_ops.documents import sweep as sweeping
from mika_ops.documents.document import ABSENT, Document, MalformedDocument
from mika_ops.documents.repository import Candidate, Change, Changes, Note, Rule
from mika_ops.documents.selection import Selection
from mika_ops.documents.sweep import Sweep
from mika_ops.rules import email as email_rules
from mika_ops.store.database import Database
from mika_ops.store.documents import Documents
from mika_ops_testing.builders import BEFORE, EARLIER, NOW, email, get, put
from mika_ops_tests.documents.arbitrary import json_objects

DUE = email_rules.DUE.at(NOW)


@dataclass
class Shelf:
    """Documents in memory, as a repository; it notes the pages that it was asked for."""

    documents: dict[str, Document] = field(default_factory=dict)
    asked: list[int] = field(default_factory=list)
    locked: frozenset[str] = frozenset()

    def candidates(self, selection: Selection, *, after: Candidate | None, limit: int) -> Sequence[Candidate]:
        self.asked.append(limit)
        found = []
        for id_, document in self.documents.items():
            try:
                taken, malformed = selection.takes(document), False
            except MalformedDocument:
                taken = malformed = True
            if taken:
                found.append(Candidate(id_, selection.sort_key(document, id_)[0], malformed))
        found.sort(key=lambda candidate: (candidate.sorted_by, candidate.id))
        start = (after.sorted_by, after.id) if after else ("", "")
        return [candidate for candidate in found if (candidate.sorted_by, candidate.id) > start][:limit]

    def read(self, ids: Sequence[str]) -> Mapping[str, Document]:
        return {id_: self.documents[id_] for id_ in ids if id_ in self.documents}

    def change(self, ids: Sequence[str], rule: Rule[Note], **_options: object) -> Changes[Note]:
        changed: dict[str, Change[Note]] = {}
        malformed: dict[str, str] = {}
        for id_ in ids:
            if id_ in self.locked:
                continue
            try:
                change = rule(id_, self.documents[id_])
            except MalformedDocument as error:
                malformed[id_] = str(error)
                continue
            if change is not None:
                changed[id_] = change
                self.documents[id_] = change.document or self.documents[id_]
        return Changes(changed, [id_ for id_ in ids if id_ not in changed], malformed)


def shelf(count: int, malformed: int = 0) -> Shelf:
    """Return so many due emails, and malformed ones before all of them."""
    broken = {f"a{n:03}": email(f"a{n:03}", attemptCount="one") for n in range(malformed)}
    return Shelf({**broken, **{f"b{n:03}": email(f"b{n:03}") for n in range(count)}})


def sweep(repository: Shelf, **options: Any) -> Sweep:
    return Sweep(repository, DUE, "the sweep", **options)


def swept(repository: Shelf, size: int = 10, **options: Any) -> tuple[list[list[str]], Sweep]:
    sweep_ = sweep(repository, **options)
    return list(sweep_.batches(size)), sweep_


def sent(document: Document) -> Document:
    return {**document, "status": "sent"}


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeping, "PAGE", 4)
    monkeypatch.setattr(sweeping, "BATCH", 2)


def test_a_sweep_of_nothing_is_nothing() -> None:
    batches, done = swept(Shelf())
    assert (batches, done.scanned, done.has_more) == ([], 0, False)


def test_documents_are_taken_in_the_selections_order() -> None:
    late = email("a", nextAttemptAt=BEFORE)
    batches, _done = swept(Shelf({"a": late, "c": email("c"), "b": email("b")}))
    assert batches == [["b", "c", "a"]]


@pytest.mark.parametrize(("count", "sizes"), [(3, [3]), (4, [4]), (5, [4, 1]), (8, [4, 4]), (9, [4, 4, 1])])
def test_documents_are_taken_in_batches(count: int, sizes: list[int]) -> None:
    batches, done = swept(shelf(count), size=4)
    assert [len(batch) for batch in batches] == sizes
    assert (done.scanned, done.has_more) == (count, False)


@pytest.mark.parametrize("size", [1, 2, 3, 10])
@pytest.mark.parametrize(
    ("limit", "scanned", "has_more"),
    [(0, 0, True), (1, 1, True), (4, 4, True), (5, 5, False), (6, 5, False), (None, 5, False)],
)
def test_a_limit_is_obeyed_exactly_and_more_is_reported_exactly(
    limit: int | None, scanned: int, has_more: bool, size: int
) -> None:
    batches, done = swept(shelf(5), size=size, limit=limit)
    assert (sum(map(len, batches)), done.scanned, done.has_more) == (scanned, scanned, has_more)


def test_a_limit_of_zero_tells_no_more_where_nothing_is_due() -> None:
    assert not swept(Shelf(), limit=0)[1].has_more


@pytest.mark.usefixtures("small_pages")
@given(
    count=st.integers(0, 20),
    malformed=st.integers(0, 12),
    limit=st.none() | st.integers(0, 22),
    size=st.integers(1, 7),
    turns=st.none() | st.integers(0, 8),
)
def test_whatever_the_pages_and_batches_counts_are_exact(
    count: int, malformed: int, limit: int | None, size: int, turns: int | None
) -> None:
    asked = iter([False] * (1_000 if turns is None else turns))
    batches, done = swept(shelf(count, malformed), size=size, limit=limit, out_of_time=lambda: next(asked, True))
    taken = [id_ for batch in batches for id_ in batch]
    assert taken == [f"b{n:03}" for n in range(len(taken))], "each once, in order"
    assert done.scanned == len(taken)
    assert done.has_more is (done.scanned < count)
    if turns is None:
        assert done.scanned == (count if limit is None else min(limit, count))
    if limit is None and turns is None:
        assert done.malformed == malformed


@pytest.mark.usefixtures("small_pages")
def test_malformed_documents_do_not_use_up_the_limit() -> None:
    batches, done = swept(shelf(3, malformed=11), limit=2)
    assert [id_ for batch in batches for id_ in batch] == ["b000", "b001"]
    assert (done.scanned, done.malformed, done.has_more) == (2, 11, True)


def test_malformed_documents_are_counted_and_named_once(caplog: pytest.LogCaptureFixture) -> None:
    _batches, done = swept(shelf(1, malformed=2))
    assert (done.malformed, done.malformed_ids) == (2, ("a000", "a001"))
    (message,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert message == "the sweep: left 2 malformed documents of ops alone; fix or remove them: a000, a001"


def test_of_many_malformed_documents_the_first_are_named() -> None:
    _batches, done = swept(shelf(0, malformed=sweeping.IDS_NAMED + 5))
    assert done.malformed == sweeping.IDS_NAMED + 5
    assert done.malformed_ids == tuple(f"a{n:03}" for n in range(sweeping.IDS_NAMED))


def test_the_warning_about_malformed_documents_holds_none_of_their_values(caplog: pytest.LogCaptureFixture) -> None:
    swept(Shelf({"a": email("a", attemptCount="canary", toEmail="ada@example.test")}))
    assert "canary" not in caplog.text
    assert "ada" not in caplog.text


def test_time_is_asked_for_between_batches() -> None:
    asked: list[int] = []

    def out_of_time() -> bool:
        asked.append(done.scanned)
        return done.scanned >= 4

    done = sweep(shelf(9), out_of_time=out_of_time)
    assert [len(batch) for batch in done.batches(2)] == [2, 2]
    assert asked == [0, 2, 4]
    assert done.has_more


def test_time_that_is_spent_after_the_last_batch_leaves_no_more() -> None:
    done: Sweep = sweep(shelf(4), out_of_time=lambda: done.scanned == 4)
    assert len(list(done.batches(2))) == 2
    assert not done.has_more


def test_no_more_is_looked_up_than_a_limit_needs() -> None:
    repository = shelf(9)
    swept(repository, limit=3)
    assert repository.asked == [3 + sweeping.BATCH]


@pytest.mark.usefixtures("small_pages")
def test_memory_is_that_of_one_page() -> None:
    repository = shelf(9)
    done = sweep(repository)
    pages = [(len(repository.asked), len(batch)) for batch in done.batches(4)]
    assert pages == [(1, 4), (2, 4), (3, 1)]
    assert max(repository.asked) == 4


def test_a_long_sweep_tells_how_far_it_is(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    seconds = iter([100.0, 104.9, 105.0, 105.0, 106.0, 106.0])
    swept(shelf(6), size=2, timer=lambda: next(seconds))
    messages = [record.getMessage() for record in caplog.records]
    assert messages == ["the sweep: 4 done, 1/s"]


def test_a_short_sweep_tells_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    swept(shelf(6), size=2)
    assert caplog.records == []


def test_a_change_is_made_to_every_document(database: Database) -> None:
    put(database, "ops", *(email(f"email_{number}") for number in range(7)), email("done", status="skipped"))
    done = Sweep(Documents(database, "ops"), DUE, "test")
    done.change(sent)
    assert (done.scanned, done.changed, done.malformed, done.has_more) == (7, 7, 0, False)
    assert {get(database, "ops", f"email_{number}")["status"] for number in range(7)} == {"sent"}
    assert get(database, "ops", "done")["status"] == "skipped"


def test_a_change_obeys_the_limit(database: Database) -> None:
    put(database, "ops", *(email(id_) for id_ in "abc"))
    done = Sweep(Documents(database, "ops"), DUE, "test", limit=2)
    done.change(sent)
    assert (done.scanned, done.changed, done.has_more) == (2, 2, True)
    assert [get(database, "ops", id_)["status"] for id_ in "abc"] == ["sent", "sent", "queued"]


def test_what_the_rule_leaves_alone_is_scanned_and_not_changed() -> None:
    repository = shelf(4)
    done = sweep(repository)
    done.change(lambda document: sent(document) if document["id"] != "b001" else None)
    assert (done.scanned, done.changed) == (4, 3)


def test_a_document_that_moved_on_since_it_was_found_is_not_changed() -> None:
    repository = shelf(2)

    def somebody_sends_the_other(document: Document) -> Document:
        repository.documents["b001"] = email("b001", status="sent", sentAt=NOW)
        return sent(document)

    done = sweep(repository)
    done.change(somebody_sends_the_other)
    assert (done.scanned, done.changed) == (2, 1)
    assert repository.documents["b001"]["record"]["sentAt"] == NOW


def test_a_document_that_broke_since_it_was_found_is_malformed_and_keeps_nobody_waiting() -> None:
    repository = shelf(3)

    def somebody_breaks_the_next(document: Document) -> Document:
        repository.documents["b001"] = email("b001", top={"record": ABSENT})
        return sent(document)

    done = sweep(repository)
    done.change(somebody_breaks_the_next)
    assert (done.scanned, done.changed, done.malformed_ids) == (3, 2, ("b001",))


def test_a_document_that_is_locked_is_left_for_the_next_run() -> None:
    repository = shelf(3)
    repository.locked = frozenset({"b001"})
    done = sweep(repository)
    done.change(sent)
    assert (done.scanned, done.changed, done.has_more) == (3, 2, False)


@given(json_objects)
def test_what_we_do_not_know_of_a_document_survives(unknown: Document) -> None:
    repository = Shelf({"a": {**unknown, **email("a")}})
    sweep(repository).change(sent)
    assert repository.documents["a"] == {**unknown, **email("a"), "status": "sent"}


def test_a_sweep_says_since_when_the_oldest_waited_that_it_changed(database: Database) -> None:
    put(
        database,
        "ops",
        email("never_tried", createdAt=EARLIER),
        email("retried", createdAt="2020-01-01T00:00:00.000Z", nextAttemptAt=BEFORE),
        email("left_alone", createdAt="2020-01-01T00:00:00.000Z"),
    )
    sweep = Sweep(Documents(database, "ops"), DUE, "test")

    sweep.change(lambda document: None if document["id"] == "left_alone" else document)

    assert sweep.counts()["oldest"] == EARLIER


def test_a_sweep_that_changes_nothing_has_no_oldest(database: Database) -> None:
    put(database, "ops", email("left_alone"))
    sweep = Sweep(Documents(database, "ops"), DUE, "test")

    sweep.change(lambda _document: None)

    assert sweep.counts()["oldest"] is None
