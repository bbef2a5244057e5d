"""How any record changes: patched, mirrored fields copied up, everything else as it was."""

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mika_ops.documents.document import (
    ABSENT,
    Document,
    MalformedDocument,
    metadata_of,
    patched,
    record_of,
    with_record,
)
from mika_ops_testing.builders import NOW
from mika_ops_tests.documents.arbitrary import json_objects


def changed(document: Document, **patch: object) -> Document:
    return with_record(document, patch, mirrored=("status", "kind"), now=NOW)


def test_a_patch_sets_fields_of_the_record() -> None:
    assert changed({"record": {"status": "queued"}}, status="sent")["record"] == {"status": "sent"}


def test_a_field_patched_to_absent_leaves_the_record() -> None:
    assert changed({"record": {"status": "queued", "lastError": "x"}}, lastError=ABSENT)["record"] == {
        "status": "queued"
    }


def test_removing_a_field_that_is_not_there_changes_nothing() -> None:
    assert changed({"record": {"a": 1}}, lastError=ABSENT)["record"] == {"a": 1}


def test_mirrored_fields_are_copied_up() -> None:
    assert changed({"status": "queued", "record": {"status": "queued"}}, status="sent")["status"] == "sent"


def test_a_mirrored_field_is_copied_up_even_where_the_top_had_none() -> None:
    assert changed({"record": {"status": "queued"}})["status"] == "queued"


def test_a_mirrored_field_that_the_record_lacks_is_removed_from_the_top() -> None:
    assert "kind" not in changed({"kind": "magic_link", "record": {"status": "queued"}})


def test_a_mirrored_null_is_copied_up_as_null() -> None:
    assert changed({"kind": "x", "record": {"kind": None}})["kind"] is None


def test_a_top_level_field_that_is_not_mirrored_stays() -> None:
    assert changed({"emailHash": "hash", "record": {}})["emailHash"] == "hash"


def test_the_document_is_stamped() -> None:
    assert changed({"updatedAt": "before", "record": {}})["updatedAt"] == NOW


def test_keys_keep_their_order_and_new_ones_come_last() -> None:
    document = {"z": 1, "status": "queued", "a": 2, "record": {"y": 1, "status": "queued", "b": 2}}
    result = changed(document, status="sent", sentAt=NOW)
    assert list(result) == ["z", "status", "a", "record", "updatedAt"]
    assert list(result["record"]) == ["y", "status", "b", "sentAt"]


@given(top=json_objects, record=json_objects)
def test_nothing_but_the_patch_the_mirrored_fields_and_the_stamp_changes(top: Document, record: Document) -> None:
    document = {**top, "record": record}
    before = copy.deepcopy(document)
    result = changed(document, status="sent")
    touched = {"status", "kind", "updatedAt", "record"}
    assert document == before, "a rule must not change the document it was given"
    assert {key: value for key, value in result.items() if key not in touched} == {
        key: value for key, value in before.items() if key not in touched
    }
    assert result["record"] == {**record, "status": "sent"}


@pytest.mark.parametrize(
    ("record", "described"),
    [(None, "missing"), ([], "a list"), ("{}", "a text"), (True, "true or false"), (0, "a number"), (1.5, "a number")],
)
def test_a_document_whose_record_is_no_object_is_malformed(record: object, described: str) -> None:
    with pytest.raises(MalformedDocument, match=f"^record is {described}, not an object$"):
        record_of({"record": record})


def test_a_document_without_a_record_is_malformed() -> None:
    with pytest.raises(MalformedDocument, match="record is missing"):
        record_of({})


@given(value=st.text(min_size=3))
def test_what_is_wrong_is_said_without_the_value(value: str) -> None:
    with pytest.raises(MalformedDocument) as raised:
        record_of({"record": f"<{value}>"})
    assert f"<{value}>" not in str(raised.value)


@pytest.mark.parametrize("metadata", [None, [], "text", 7, True])
def test_metadata_that_is_no_object_counts_as_empty(metadata: object) -> None:
    assert metadata_of({"metadata": metadata}) == {}


def test_a_patch_does_not_change_its_base() -> None:
    base = {"a": 1}
    assert patched(base, {"a": ABSENT, "b": 2}) == {"b": 2}
    assert base == {"a": 1}
