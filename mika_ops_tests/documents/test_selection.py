"""What a selection takes, what it calls malformed, and how it sorts: for one document, in Python."""

from typing import Any

import pytest

from mika_ops.documents.document import Document, MalformedDocument
from mika_ops.documents.selection import (
    AtMost,
    Below,
    Blank,
    Condition,
    Field,
    Has,
    NoneOf,
    Not,
    OneOf,
    Selection,
    all_of,
    any_of,
    record,
    record_number,
    top,
)
from mika_ops_testing.builders import AFTER, BEFORE, NOW

TYPE = OneOf(top("type"), ("email",))
ATTEMPTS_LEFT = Below(record_number("attemptCount"), record_number("maxAttempts"))


def selecting(record_: Condition | None = None, **options: Any) -> Selection:
    return Selection("ops", TYPE, record_, **options)


def document(record_: object = None, /, **fields: Any) -> Document:
    return {"type": "email", "record": {} if record_ is None else record_, **fields}


def test_a_document_of_another_kind_is_not_taken() -> None:
    assert not selecting().takes({"type": "webhook"})


def test_a_document_of_another_kind_is_never_malformed() -> None:
    assert not selecting(ATTEMPTS_LEFT).takes({"type": "webhook", "record": "broken"})


@pytest.mark.parametrize("broken", [None, [], "text", 5, True])
def test_a_document_whose_record_is_no_object_is_malformed(broken: object) -> None:
    with pytest.raises(MalformedDocument, match="record"):
        selecting(all_of()).takes({"type": "email", "record": broken})


def test_a_selection_of_somebodys_documents_passes_over_one_without_a_record() -> None:
    assert not selecting(all_of(), reports_malformed=False).takes({"type": "email", "record": None})


def test_a_selection_that_does_not_look_inside_needs_no_record() -> None:
    assert selecting().takes({"type": "email"})


@pytest.mark.parametrize(("time", "taken"), [(BEFORE, True), (NOW, True), (AFTER, False)])
def test_a_time_is_reached_at_its_millisecond_and_after(time: str, taken: bool) -> None:
    assert selecting(AtMost(record("at"))).at(NOW).takes(document({"at": time})) is taken


@pytest.mark.parametrize("if_absent", [True, False])
@pytest.mark.parametrize("record_", [{}, {"at": None}])
def test_null_counts_as_absent(record_: Document, if_absent: bool) -> None:
    assert selecting(AtMost(record("at"), if_absent=if_absent)).at(NOW).takes(document(record_)) is if_absent


@pytest.mark.parametrize("value", [5, 0, False, {}, []])
def test_a_time_in_the_record_that_is_no_text_is_malformed(value: object) -> None:
    with pytest.raises(MalformedDocument, match=r"record\.at is not a text"):
        selecting(AtMost(record("at"))).at(NOW).takes(document({"at": value}))


def test_a_top_level_time_that_is_no_text_counts_as_absent() -> None:
    assert not selecting(AtMost(top("at"))).at(NOW).takes(document(at=5))


@pytest.mark.parametrize(("count", "taken"), [(2, True), (2.5, True), (3, False), (4, False)])
def test_attempts_are_left_below_the_maximum(count: float, taken: bool) -> None:
    assert selecting(ATTEMPTS_LEFT).takes(document({"attemptCount": count, "maxAttempts": 3})) is taken


@pytest.mark.parametrize("count", ["2", True, None, [], {}])
def test_an_attempt_count_that_is_no_number_is_malformed(count: object) -> None:
    with pytest.raises(MalformedDocument, match="attemptCount"):
        selecting(ATTEMPTS_LEFT).takes(document({"attemptCount": count, "maxAttempts": 3}))


def test_a_missing_number_is_malformed() -> None:
    with pytest.raises(MalformedDocument, match=r"record\.maxAttempts is missing"):
        selecting(ATTEMPTS_LEFT).takes(document({"attemptCount": 0}))


@pytest.mark.parametrize("conditions", [all_of, any_of])
def test_what_is_malformed_does_not_depend_on_the_order_of_conditions(conditions: Any) -> None:
    decided, wrong = OneOf(record("kind"), ("a",)), AtMost(record("at"))
    for ordered in ((decided, wrong), (wrong, decided)):
        for kind in ("a", "b"):
            with pytest.raises(MalformedDocument):
                selecting(conditions(*ordered)).at(NOW).takes(document({"kind": kind, "at": 5}))


@pytest.mark.parametrize(("value", "blank"), [(None, True), ("", True), ("x", False), (0, False), (False, False)])
def test_blank_is_absent_or_an_empty_text(value: object, blank: bool) -> None:
    assert selecting(Blank(record("lastError"))).takes(document({"lastError": value})) is blank


@pytest.mark.parametrize("value", ["", 0, False, [], {}])
def test_anything_but_null_is_there(value: object) -> None:
    assert selecting(Has(record("raw"))).takes(document({"raw": value}))


def test_null_is_not_there() -> None:
    assert selecting(Not(Has(record("raw")))).takes(document({"raw": None}))


@pytest.mark.parametrize("value", [None, 5, True, ["active"]])
def test_what_is_no_text_is_none_of_the_texts(value: object) -> None:
    assert selecting(NoneOf(record("status"), ("active",))).takes(document({"status": value}))
    assert not selecting(OneOf(record("status"), ("active", "5", "True"))).takes(document({"status": value}))


@pytest.mark.parametrize("outer", ["a text", 5, [], None])
def test_a_path_through_something_else_than_objects_finds_nothing(outer: object) -> None:
    assert Field(("record", "metadata", "userId")).read(document({"metadata": outer})) is None


def test_the_first_of_several_times_sorts() -> None:
    selection = selecting(order_by=(record("nextAttemptAt"), record("updatedAt")))
    assert selection.sort_key(document({"nextAttemptAt": NOW, "updatedAt": BEFORE}), "id") == (NOW, "id")
    assert selection.sort_key(document({"updatedAt": BEFORE}), "id") == (BEFORE, "id")


@pytest.mark.parametrize("value", [None, 5, {}, []])
def test_what_is_no_time_sorts_as_absent_and_absent_first(value: object) -> None:
    selection = selecting(order_by=(top("nextAttemptAt"),))
    assert selection.sort_key(document(nextAttemptAt=value), "z") < selection.sort_key(document(nextAttemptAt=NOW), "a")


def test_of_equal_times_the_one_that_first_if_names_comes_first_then_ids_decide() -> None:
    selection = selecting(order_by=(record("at"),), first_if=NoneOf(top("status"), ("running",)))
    keys = [
        selection.sort_key(document({"at": NOW}, status=status), id_)
        for id_, status in (("b", "queued"), ("c", "queued"), ("a", "running"))
    ]
    assert keys == sorted(keys)
    later = selection.sort_key(document({"at": AFTER}, status="queued"), "a")
    assert max(keys) < later


def test_a_selection_that_compares_with_a_time_needs_one() -> None:
    for place, taken in ((record("at"), document({"at": NOW})), (top("at"), document(at=NOW))):
        with pytest.raises(TypeError, match=r"use Selection\.at"):
            selecting(AtMost(place)).takes(taken)


def test_selections_at_different_times_have_one_definition() -> None:
    due = selecting(AtMost(record("at")))

    assert due.at(BEFORE) != due.at(AFTER)
    assert due.at(BEFORE).definition == due.at(AFTER).definition == due
