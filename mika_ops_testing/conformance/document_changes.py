"""What ``DocumentRepository`` promises about changing documents."""

from collections.abc import Mapping
from threading import Event, Thread
from typing import TypeVar

import pytest

from mika_ops.documents.document import Document, MalformedDocument
from mika_ops.documents.repository import Change, DocumentRepository, Rule
from mika_ops.documents.sweep import BATCH
from mika_ops_testing.builders import email
from mika_ops_testing.conformance.document_candidates import MakeRepository
from mika_ops_testing.conformance.expectations import expect, expect_equal
from mika_ops_testing.conformance.selections import DUE_EMAILS, candidates
from mika_ops_testing.conformance.threads import at_once

Note = TypeVar("Note")

A_MOMENT_SECONDS = 0.5
"""How long a rule waits for another writer, which may have to wait for that rule in turn."""

ROUNDS = 15

UNKNOWN = {
    "integer beyond 2**53": 9007199254740993,
    "long integer": 123456789012345678901234567890,
    "fraction": 0.1,
    "large float": 1e21,
    "small float": 1e-7,
    "negative": -0.5,
    "text": "größer, 大きい, 𝄞",
    "escapes": 'quote " backslash \\ slash / tab \t newline \n \u2028\u2029',
    "statement": "'; DROP TABLE _plugin_storage; -- :name %s %(name)s ?",
    "nothing": None,
    "flag": True,
    "objects": {"nested": [{"deep": [[[]]]}], "": ""},
}
"""What a site may store beside what maintenance knows."""


def mark(_id: str, document: Document) -> Change[None]:
    """Mark a document."""
    return Change({**document, "mark": True}, None)


def add_one(_id: str, document: Document) -> Change[None]:
    """Count up."""
    return Change({**document, "count": document.get("count", 0) + 1}, None)


class ChangesConformance:
    """Changing: ``change``."""

    def another_writer(self, repository: DocumentRepository) -> DocumentRepository:
        """Return the repository as another process opens it; the same object unless a host overrides this."""
        return repository

    def test_what_the_rule_returns_is_written(self, make_repository: MakeRepository) -> None:
        """`change`: writes what the rule returns, and calls it with the id and the stored document."""
        repository = make_repository(email("a"), email("b"), email("c"))
        repository.change(["a", "b"], lambda id_, document: Change({**document, "seen": [id_, document["id"]]}, None))
        expected = {id_: {**email(id_), "seen": [id_, id_]} for id_ in "ab"} | {"c": email("c")}
        expect_equal(read(repository, "a", "b", "c"), expected, "write what the rule returns, for these ids")

    def test_each_change_is_reported_with_its_note_in_the_order_asked_for(
        self, make_repository: MakeRepository
    ) -> None:
        """`Changes.changed`: what the rule returned, in the order of the ids asked for."""
        repository = make_repository(email("a"), email("b"), email("c"))
        changes = repository.change(["c", "a", "b"], lambda id_, document: Change(document, id_.upper()))
        reported = [(id_, change.note) for id_, change in changes.changed.items()]
        advice = "Changes.changed must hold the Change of the rule, with its note, in the order of the ids"
        expect_equal(reported, [("c", "C"), ("a", "A"), ("b", "B")], advice)

    def test_what_the_rule_leaves_alone_is_left_and_not_written(self, make_repository: MakeRepository) -> None:
        """`Changes.left`: those that the rule returned `None` for; they stay as they are."""
        repository = make_repository(email("a"), email("b"))
        changes = repository.change(["a", "b"], lambda id_, document: mark(id_, document) if id_ == "a" else None)
        advice = "where the rule returns None, report the id in Changes.left"
        expect_equal((list(changes.changed), list(changes.left)), (["a"], ["b"]), advice)
        expect_equal(read(repository, "b"), {"b": email("b")}, "where the rule returns None, write nothing")

    def test_a_note_without_a_document_is_reported_and_nothing_is_written(
        self, make_repository: MakeRepository
    ) -> None:
        """`Change(None, note)`: reported as changed, and the document stays as it is."""
        repository = make_repository(email("a"))
        changes = repository.change(["a"], lambda _id, _document: Change(None, "a note"))
        advice = "report Change(None, note) in Changes.changed with its note"
        expect_equal({id_: change.note for id_, change in changes.changed.items()}, {"a": "a note"}, advice)
        expect_equal(read(repository, "a"), {"a": email("a")}, "where Change.document is None, write nothing")

    def test_an_id_that_does_not_exist_is_left(self, make_repository: MakeRepository) -> None:
        """`Changes.left`: those that do not exist; nothing is created."""
        repository = make_repository(email("a"))
        asked: list[str] = []

        def rule(id_: str, document: Document) -> Change[None]:
            asked.append(id_)
            return mark(id_, document)

        changes = repository.change(["gone", "a"], rule)
        advice = "report an id that does not exist in Changes.left, and change the others"
        expect_equal((list(changes.changed), list(changes.left)), (["a"], ["gone"]), advice)
        expect("gone" not in asked, "do not call the rule for an id that does not exist")
        expect_equal(read(repository, "gone"), {}, "do not create a document that does not exist")

    def test_a_document_that_the_rule_calls_malformed_does_not_stop_the_others(
        self, make_repository: MakeRepository
    ) -> None:
        """`Changes.malformed`: the message of `MalformedDocument`; the others are written all the same."""
        repository = make_repository(email("a"), email("b"), email("c"))
        changes = repository.change(["a", "b", "c"], malformed_for("b", mark))
        advice = "where the rule raises MalformedDocument, report its message in Changes.malformed and go on"
        expect_equal(dict(changes.malformed), {"b": "record is a list, not an object"}, advice)
        expect_equal((list(changes.changed), list(changes.left)), (["a", "c"], []), advice)
        expected = {"a": {**email("a"), "mark": True}, "b": email("b"), "c": {**email("c"), "mark": True}}
        expect_equal(read(repository, "a", "b", "c"), expected, "write the others, and leave the malformed one alone")

    def test_an_error_of_the_rule_is_raised_and_nothing_is_written(self, make_repository: MakeRepository) -> None:
        """`change`: whatever else the rule raises is raised on, with nothing written."""
        repository = make_repository(email("a"), email("b"))

        def rule(id_: str, document: Document) -> Change[None]:
            if id_ == "b":
                raise ZeroDivisionError("a defect")
            return mark(id_, document)

        try:
            repository.change(["a", "b"], rule)
        except ZeroDivisionError:
            pass
        else:
            expect(False, "raise on what the rule raises, unless it is MalformedDocument")
        advice = "where the rule raises, undo the whole batch: change is one transaction"
        expect_equal(read(repository, "a", "b"), {"a": email("a"), "b": email("b")}, advice)

    def test_changing_no_ids_changes_nothing(self, make_repository: MakeRepository) -> None:
        """`change`: no ids, no changes."""
        repository = make_repository(email("a"))
        changes = repository.change([], mark)
        reported = dict(changes.changed), list(changes.left), dict(changes.malformed)
        expect_equal(reported, ({}, [], {}), "change([], rule) must report nothing")
        expect_equal(read(repository, "a"), {"a": email("a")}, "change([], rule) must write nothing")

    def test_a_whole_batch_is_changed_at_once(self, make_repository: MakeRepository) -> None:
        """`change`: a sweep changes 250 documents in one call."""
        ids = [f"email_{number:03}" for number in range(BATCH)]
        repository = make_repository(*map(email, ids))
        changes = repository.change(ids, mark)
        expect_equal(list(changes.changed), ids, f"change all {BATCH} documents of a batch in one call")
        marked = [id_ for id_, document in repository.read(ids).items() if document.get("mark")]
        expect_equal(sorted(marked), ids, f"write all {BATCH} documents of a batch in one call")

    @pytest.mark.parametrize("case", UNKNOWN)
    def test_what_maintenance_does_not_know_survives_a_change(self, case: str, make_repository: MakeRepository) -> None:
        """`change`: writes the whole document that the rule returns, with every value and its type."""
        value = UNKNOWN[case]
        repository = make_repository(email("a", unknown=value, top={"unknown": value}))
        repository.change(["a"], mark)
        document = repository.read(["a"])["a"]
        found = [(each, type(each)) for each in (document.get("unknown"), document["record"].get("unknown"))]
        expect_equal(found, [(value, type(value))] * 2, "keep every value of a document, and its type, as JSON has it")
        expect_equal(document.get("mark"), True, "write what the rule returns")

    @pytest.mark.parametrize("wait", [False, True])
    @pytest.mark.parametrize("seen", ["as it is", "as it was", "missing"])
    def test_seen_makes_no_difference_to_what_is_reported(
        self, seen: str, wait: bool, make_repository: MakeRepository
    ) -> None:
        """`seen`: what is reported is the same with it and without."""
        repository = make_repository(email("a"), email("b"), email("c"), email("d"))
        given = self._seen(seen, "a", "b", "c", "d", "gone")
        changes = repository.change(["d", "gone", "b", "a", "c"], _mixed, wait=wait, seen=given)
        reported = [(id_, change.note) for id_, change in changes.changed.items()]
        reported_all = reported, sorted(changes.left), dict(changes.malformed)
        expected = [("d", "marked d"), ("a", "only a note")], ["b", "gone"], {"c": "record is a list, not an object"}
        expect_equal(reported_all, expected, "report the same with `seen` as without: it may spare reads, no more")
        expected_d = {"d": {**email("d"), "mark": True}}
        expect_equal(read(repository, "d"), expected_d, "with `seen`, apply the rule to the stored document")

    def _seen(self, which: str, *ids: str) -> Mapping[str, Document] | None:
        if which == "missing":
            return None
        return {id_: email(id_) if which == "as it is" else email(id_, subject="Before") for id_ in ids}

    def test_a_document_that_was_changed_since_it_was_seen_loses_no_update(
        self, make_repository: MakeRepository
    ) -> None:
        """`seen`: where a document has changed since, the rule decides on it as it is."""
        repository = make_repository(email("a"), email("b"))
        seen = {"a": email("a"), "b": email("b")}
        theirs = self.another_writer(repository)
        theirs.change(["b"], lambda _id, document: Change({**document, "theirs": True}, None))
        changes = repository.change(["a", "b"], mark, wait=True, seen=seen)
        expect_equal(list(changes.changed), ["a", "b"], "change both documents: `seen` is a hint, not a condition")
        expected = {"a": {**email("a"), "mark": True}, "b": {**email("b"), "theirs": True, "mark": True}}
        advice = "compare `seen` with what is stored, and apply the rule to the stored document where they differ"
        expect_equal(read(repository, "a", "b"), expected, advice)

    @pytest.mark.parametrize("wait", [False, True])
    def test_another_writers_change_is_not_overwritten(self, wait: bool, make_repository: MakeRepository) -> None:
        """`change`: nobody else may change a document between its reading and its writing."""
        repository = make_repository(email("a"))
        theirs, reached, other_is_done = self.another_writer(repository), Event(), Event()
        reported: list[str] = []

        def interrupted(id_: str, document: Document) -> Change[None]:
            reached.set()
            # The other writer either is done by now, or waits for this change: both are right.
            other_is_done.wait(A_MOMENT_SECONDS)
            return mark(id_, document)

        def write() -> None:
            reached.wait()
            changes = theirs.change(["a"], lambda _id, document: Change({**document, "theirs": True}, None), wait=wait)
            reported.extend(changes.changed)
            other_is_done.set()

        other = Thread(target=write)
        other.start()
        try:
            ours = list(repository.change(["a"], interrupted, wait=True).changed)
        finally:
            reached.set()
            other.join()
        document = repository.read(["a"])["a"]
        kept = {"mark": bool(ours), "theirs": bool(reported)}
        expect_equal(
            {name: name in document for name in kept},
            kept,
            "a change that was reported is missing from the document: lock it from reading to writing, or compare it "
            "with what was read while you write it (compare-and-swap) and apply the rule again",
        )

    def test_no_update_of_several_workers_is_lost(self, make_repository: MakeRepository) -> None:
        """`change` with `wait`: every worker's change is made, one after the other."""
        repository = make_repository(email("a"), email("b"))
        workers = [repository, self.another_writer(repository)]

        def work(worker: int) -> None:
            for _ in range(ROUNDS):
                changed = list(workers[worker].change(["a", "b"], add_one, wait=True).changed)
                expect_equal(changed, ["a", "b"], "with `wait`, wait for a document that another worker is changing")

        at_once(work, len(workers))
        counts = {id_: document.get("count") for id_, document in repository.read(["a", "b"]).items()}
        expected = dict.fromkeys("ab", ROUNDS * len(workers))
        expect_equal(counts, expected, "updates of two workers were lost: read, apply the rule and write as one step")

    def test_two_workers_never_claim_the_same_document(self, make_repository: MakeRepository) -> None:
        """`change`: of two workers that claim a document by a rule, one does."""
        ids = [f"email_{number:02}" for number in range(40)]
        repository = make_repository(*map(email, ids))
        workers, claimed = [repository, self.another_writer(repository)], dict[int, list[str]]()

        def claim(_id: str, document: Document) -> Change[None] | None:
            return Change({**document, "status": "sent"}, None) if document["status"] == "queued" else None

        def work(worker: int) -> None:
            batches = [ids[start : start + 4] for start in range(0, len(ids), 4)]
            claimed[worker] = [id_ for batch in batches for id_ in workers[worker].change(batch, claim).changed]

        at_once(work, len(workers))
        twice = set(claimed[0]) & set(claimed[1])
        expect_equal(twice, set(), "two workers claimed the same document: an email would be sent twice")
        left = [candidate.id for candidate in candidates(repository, DUE_EMAILS, limit=len(ids))]
        advice = "a document must be in Changes.changed, or stay as it is for the next run"
        expect_equal(sorted([*claimed[0], *claimed[1], *left]), ids, advice)


def read(repository: DocumentRepository, *ids: str) -> dict[str, Document]:
    """Return these documents as they are stored."""
    return dict(repository.read(ids))


def malformed_for(malformed: str, rule: Rule[Note]) -> Rule[Note]:
    """Return the rule that calls one document malformed."""

    def raising(id_: str, document: Document) -> Change[Note] | None:
        if id_ == malformed:
            raise MalformedDocument("record is a list, not an object")
        return rule(id_, document)

    return raising


def _mixed(id_: str, document: Document) -> Change[str] | None:
    match id_:
        case "a":
            return Change(None, "only a note")
        case "c":
            raise MalformedDocument("record is a list, not an object")
        case "d":
            return Change({**document, "mark": True}, "marked d")
        case _:
            return None
