"""A document repository that breaks a promise fails the test of that promise, with what to do."""

import pytest

from examples.own_host_documents import Documents
from mika_ops_testing.conformance import DocumentRepositoryConformance
from mika_ops_tests.conformance import wrong_documents as wrong
from mika_ops_tests.conformance.running import Wrong, failures, names_of_tests

EXPECTED: list[tuple[type[Documents], str, str]] = [
    (wrong.LacksRead, "test_it_has_the_methods_of_the_port", "without the method read(ids)"),
    (wrong.IgnoresTheLimit, "test_a_page_is_never_longer_than_the_limit", "return at most limit=1 candidates"),
    (wrong.LeavesOutMalformed, "test_a_page_is_full_while_there_is_more", "a short page ends a sweep"),
    (wrong.IgnoresAfter, "test_the_next_page_goes_on_after_the_last_candidate", "the pages never end"),
    (wrong.GoesOnById, "test_the_next_page_goes_on_after_the_last_candidate", "compare (sorted_by, id) with `after`"),
    (wrong.GoesOnByDocument, "test_a_page_goes_on_after_a_candidate_that_was_changed_since", "go on after the place"),
    (wrong.GoesOnByDocument, "test_a_page_after_the_last_place_is_empty", "return nothing after the last candidate"),
    (wrong.LosesOrder, "test_times_are_sorted_with_absent_ones_first", "no time first, then oldest first"),
    (wrong.LosesOrder, "test_an_operator_takes_what_it_takes_in_python", "in the order of selection.sort_key"),
    (wrong.SortsAbsentTimesLast, "test_times_are_sorted_with_absent_ones_first", "no time first"),
    (wrong.SortsIdsByCase, "test_ids_are_sorted_by_code_point", "by code point"),
    (
        wrong.LeavesOutMalformed,
        "test_a_selection_of_maintenance_finds_its_documents",
        "candidates must include",
    ),
    (wrong.MarksNothing, "test_an_operator_takes_what_it_takes_in_python", "mark a candidate malformed where"),
    (wrong.SortedByNothing, "test_an_operator_takes_what_it_takes_in_python", "sorted_by must be the first part"),
    (wrong.TakesEverything, "test_an_operator_takes_what_it_takes_in_python", "candidates must leave out email_0"),
    (wrong.KeepsTheFirstTime, "test_a_selection_is_read_at_its_own_time", "compare with the time of the selection"),
    (wrong.LeasesWhileFinding, "test_finding_candidates_changes_nothing", "candidates must not change documents"),
    (wrong.ReadsTheRecordAlone, "test_documents_are_read_by_their_ids", "read must return the stored documents"),
    (wrong.ReadsAll, "test_documents_are_read_by_their_ids", "read must return the stored documents"),
    (wrong.ReadsAll, "test_reading_no_ids_is_nothing", "read([]) must return no documents"),
    (wrong.RaisesForMissing, "test_an_id_that_does_not_exist_is_left_out", "KeyError"),
    (wrong.WritesNothing, "test_what_the_rule_returns_is_written", "write what the rule returns"),
    (wrong.LosesNotes, "test_each_change_is_reported_with_its_note_in_the_order_asked_for", "with its note"),
    (wrong.SortsWhatItChanged, "test_each_change_is_reported_with_its_note_in_the_order_asked_for", "the order of"),
    (
        wrong.RewritesWhatIsLeft,
        "test_what_the_rule_leaves_alone_is_left_and_not_written",
        "None, write nothing",
    ),
    (wrong.ReportsNothingLeft, "test_what_the_rule_leaves_alone_is_left_and_not_written", "in Changes.left"),
    (
        wrong.WritesAlthoughTheRuleReturnedNothing,
        "test_a_note_without_a_document_is_reported_and_nothing_is_written",
        "where Change.document is None, write nothing",
    ),
    (
        wrong.DropsNotesWithoutADocument,
        "test_a_note_without_a_document_is_reported_and_nothing_is_written",
        "report Change(None, note) in Changes.changed",
    ),
    (wrong.CreatesWhatIsMissing, "test_an_id_that_does_not_exist_is_left", "report an id that does not exist"),
    (wrong.StopsAtMalformed, "test_a_document_that_the_rule_calls_malformed_does_not_stop_the_others", "ValueError"),
    (wrong.HidesErrors, "test_an_error_of_the_rule_is_raised_and_nothing_is_written", "raise on what the rule raises"),
    (wrong.WritesOneByOne, "test_an_error_of_the_rule_is_raised_and_nothing_is_written", "undo the whole batch"),
    (wrong.ChangesAllIfNoneAreNamed, "test_changing_no_ids_changes_nothing", "change([], rule) must report nothing"),
    (wrong.ChangesAHundredAtMost, "test_a_whole_batch_is_changed_at_once", "change all 250 documents"),
    (wrong.KeepsKnownFieldsAlone, "test_what_maintenance_does_not_know_survives_a_change", "keep every value"),
    (wrong.TrustsSeen, "test_seen_makes_no_difference_to_what_is_reported", "apply the rule to the stored document"),
    (wrong.RefusesWhatChangedSinceSeen, "test_seen_makes_no_difference_to_what_is_reported", "report the same with"),
    (wrong.TrustsSeen, "test_a_document_that_was_changed_since_it_was_seen_loses_no_update", "compare `seen` with"),
    (wrong.OverwritesAConcurrentChange, "test_another_writers_change_is_not_overwritten", "(compare-and-swap)"),
    (wrong.LosesEveryThirdUpdate, "test_no_update_of_several_workers_is_lost", "updates of two workers were lost"),
    (wrong.LeavesEveryThirdChange, "test_no_update_of_several_workers_is_lost", "with `wait`, wait for a document"),
    (wrong.ReportsTheFirstAlone, "test_two_workers_never_claim_the_same_document", "must be in Changes.changed"),
    (wrong.ClaimsForBoth, "test_two_workers_never_claim_the_same_document", "an email would be sent twice"),
]
"""A wrong repository, the test that it must fail, and words of the message."""


@pytest.mark.parametrize(("repository", "test", "words"), EXPECTED)
def test_a_wrong_repository_fails_the_test_of_its_promise(repository: type[Documents], test: str, words: str) -> None:
    Wrong(DocumentRepositoryConformance, test, words, {"make_repository": lambda: repository}).check()


def test_a_right_repository_passes() -> None:
    assert failures(DocumentRepositoryConformance, {"make_repository": lambda: Documents}) == {}


def test_every_test_of_the_suite_fails_for_some_wrong_repository() -> None:
    assert {test for _, test, _ in EXPECTED} == set(names_of_tests(DocumentRepositoryConformance))
