"""What ``DocumentRepository`` promises about finding and reading documents."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from mika_ops.documents.document import Document
from mika_ops.documents.repository import Candidate, Change, DocumentRepository
from mika_ops.documents.selection import Selection
from mika_ops_testing.builders import AFTER, BEFORE, EARLIER, NOW, email
from mika_ops_testing.conformance.expectations import expect, expect_equal, expect_port, required
from mika_ops_testing.conformance.selections import (
    DUE_EMAILS,
    ODD_IDS,
    OF_MAINTENANCE,
    OPERATORS,
    SHOP,
    all_candidates,
    candidates,
    due_emails,
    expected_candidates,
    id_of,
    pages,
)

MakeRepository = Callable[..., DocumentRepository]
"""Takes documents and returns a repository that holds exactly these."""

ENDLESS_PAGES = 100


class CandidatesConformance:
    """Finding and reading: ``candidates`` and ``read``."""

    @pytest.fixture
    def make_repository(self) -> Any:
        """Return a function that takes documents and returns a repository that holds exactly these.

        It is called once for each test.
        """
        required("make_repository", "a function that takes documents and returns a repository that holds only these")

    def test_it_has_the_methods_of_the_port(self, make_repository: MakeRepository) -> None:
        """The port: `candidates`, `read` and `change` exist."""
        expect_port(make_repository(), DocumentRepository)

    @pytest.mark.parametrize("case", OPERATORS)
    def test_an_operator_takes_what_it_takes_in_python(self, case: str, make_repository: MakeRepository) -> None:
        """`candidates`: equivalent to filtering by `selection.takes` and sorting by `selection.sort_key`."""
        documents = OPERATORS[case].documents()
        self._finds(make_repository(*documents), OPERATORS[case].selection, documents)

    @pytest.mark.parametrize("case", OF_MAINTENANCE)
    def test_a_selection_of_maintenance_finds_its_documents(self, case: str, make_repository: MakeRepository) -> None:
        """`candidates`: the selections that maintenance uses find what they are for."""
        self._finds(make_repository(*SHOP), OF_MAINTENANCE[case], SHOP)

    def _finds(self, repository: DocumentRepository, selection: Selection, documents: Sequence[Document]) -> None:
        __tracebackhide__ = True
        found = all_candidates(repository, selection, documents)
        expected = expected_candidates(selection, documents)
        by_id = {id_of(document): document for document in documents}
        for lacking in [each.id for each in expected if each.id not in {other.id for other in found}][:1]:
            expect(False, f"candidates must include {lacking}, which selection.takes accepts: {by_id[lacking]}")
        for extra in [each.id for each in found if each.id not in {other.id for other in expected}][:1]:
            expect(False, f"candidates must leave out {extra}, which selection.takes rejects: {by_id.get(extra)}")
        malformed = {each.id for each in expected if each.malformed}
        expect_equal(
            {each.id for each in found if each.malformed},
            malformed,
            "mark a candidate malformed where selection.takes raises MalformedDocument, and only there",
        )
        expect_equal(
            {each.id: each.sorted_by for each in found},
            {each.id: each.sorted_by for each in expected},
            "sorted_by must be the first part of selection.sort_key",
        )
        expect_equal(found, expected, "return the candidates in the order of selection.sort_key, ids by code point")

    def test_ids_are_sorted_by_code_point(self, make_repository: MakeRepository) -> None:
        """`candidates`: of equal times, ids decide by code point, not by a language or by UTF-16."""
        found = candidates(make_repository(*map(email, ODD_IDS)), DUE_EMAILS, limit=len(ODD_IDS))
        expect_equal([each.id for each in found], sorted(ODD_IDS), "sort equal times by the id, by code point")

    @pytest.mark.parametrize("case_limit", [1, 2, 3])
    def test_a_page_is_never_longer_than_the_limit(self, case_limit: int, make_repository: MakeRepository) -> None:
        """`candidates`: at most `limit` documents, malformed ones included."""
        page = candidates(make_repository(*SHOP), DUE_EMAILS, limit=case_limit)
        expect(
            len(page) <= case_limit,
            f"return at most limit={case_limit} candidates, malformed ones included; got {len(page)}",
        )

    @pytest.mark.parametrize("case_limit", [1, 2, 3])
    def test_a_page_is_full_while_there_is_more(self, case_limit: int, make_repository: MakeRepository) -> None:
        """`candidates`: up to `limit` documents; a sweep takes a shorter page for the last one."""
        page = candidates(make_repository(*SHOP), DUE_EMAILS, limit=case_limit)
        expect(
            len(page) >= case_limit,
            f"return limit={case_limit} candidates if there are so many: a short page ends a sweep",
        )

    @pytest.mark.parametrize("case_limit", [1, 2, 3])
    def test_the_next_page_goes_on_after_the_last_candidate(
        self, case_limit: int, make_repository: MakeRepository
    ) -> None:
        """`candidates`: those after `after` only, so that page by page each comes once (keyset pagination)."""
        repository = make_repository(*SHOP)
        advice = "page by page, every candidate must come once and in order: compare (sorted_by, id) with `after`"
        for selection in OF_MAINTENANCE.values():
            found: list[Candidate] = []
            for number, page in enumerate(pages(repository, selection, case_limit)):
                expect(number < ENDLESS_PAGES, "the pages never end: return only candidates after `after`")
                found += page
            expect_equal(found, expected_candidates(selection, SHOP), advice)

    def test_a_page_goes_on_after_a_candidate_that_was_changed_since(self, make_repository: MakeRepository) -> None:
        """`candidates`: `after` is a place in the order; its document may be changed or gone."""
        repository = make_repository(*(email(id_, nextAttemptAt=BEFORE) for id_ in "abc"))
        last = candidates(repository, DUE_EMAILS, limit=2)[-1]
        repository.change([last.id], lambda _id, document: Change({**document, "status": "sent"}, None))
        rest = candidates(repository, DUE_EMAILS, after=last, limit=9)
        advice = "go on after the place (sorted_by, id) of `after`, whether or not its document is still taken"
        expect_equal([each.id for each in rest], ["c"], advice)

    def test_a_page_after_the_last_place_is_empty(self, make_repository: MakeRepository) -> None:
        """`candidates`: empty after the last document."""
        repository = make_repository(*SHOP)
        for selection in OF_MAINTENANCE.values():
            found = candidates(repository, selection, after=Candidate("z", "z"), limit=5)
            expect_equal(found, [], "return nothing after the last candidate: a sweep ends there")

    def test_finding_candidates_changes_nothing(self, make_repository: MakeRepository) -> None:
        """`candidates`: changes nothing."""
        repository, ids = make_repository(*SHOP), [id_of(document) for document in SHOP]
        before = dict(repository.read(ids))
        candidates(repository, DUE_EMAILS, limit=100)
        expect_equal(dict(repository.read(ids)), before, "candidates must not change documents: change does, by a rule")

    def test_a_selection_is_read_at_its_own_time(self, make_repository: MakeRepository) -> None:
        """`candidates`: the same selection at another time takes other documents."""
        repository = make_repository(email("a", nextAttemptAt=BEFORE), email("b", nextAttemptAt=NOW))
        for at, expected in ((NOW, ["a", "b"]), (EARLIER, []), (BEFORE, ["a"]), (NOW, ["a", "b"])):
            found = [each.id for each in candidates(repository, due_emails(at), limit=9)]
            expect_equal(found, expected, "compare with the time of the selection that is passed in: do not keep it")

    def test_times_are_sorted_with_absent_ones_first(self, make_repository: MakeRepository) -> None:
        """`candidates`: the order is that of the time, oldest first, those without one before all."""
        times = {"a": NOW, "b": EARLIER, "d": BEFORE, "e": AFTER}
        repository = make_repository(email("c"), *(email(id_, nextAttemptAt=time) for id_, time in times.items()))
        found = candidates(repository, DUE_EMAILS, limit=9)
        expect_equal([each.id for each in found], list("cbda"), "sort by sort_key: no time first, then oldest first")

    def test_documents_are_read_by_their_ids(self, make_repository: MakeRepository) -> None:
        """`read`: the documents with these ids, whole, and no others."""
        repository = make_repository(*SHOP)
        expected = {id_of(document): document for document in SHOP[:4]}
        expect_equal(dict(repository.read(list(expected))), expected, "read must return the stored documents, by id")

    def test_an_id_that_does_not_exist_is_left_out(self, make_repository: MakeRepository) -> None:
        """`read`: one that does not exist is left out."""
        found = make_repository(*SHOP).read(["email_1", "nowhere"])
        expect_equal(list(found), ["email_1"], "read must leave out an id that does not exist, and not raise")

    def test_reading_no_ids_is_nothing(self, make_repository: MakeRepository) -> None:
        """`read`: no ids, no documents."""
        expect_equal(dict(make_repository(*SHOP).read([])), {}, "read([]) must return no documents")
