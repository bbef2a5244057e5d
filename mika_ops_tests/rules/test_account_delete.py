"""Account-delete requests (behaviour, section 8): whose data, which steps are done, and the request's own states."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mika_ops.documents.document import ABSENT, Document, MalformedDocument
from mika_ops.rules import account_delete as rules
from mika_ops.rules.account_delete import CompletedStep, Identity
from mika_ops_testing.builders import BEFORE, EARLIER, NOW, delete_request
from mika_ops_tests.documents.arbitrary import json_objects, json_values

DONE = CompletedStep(3, BEFORE)


def recorded(value: object, status: object = "completed") -> Document:
    return delete_request(
        metadata={"maintenance": {"steps": {"tokensDeleted": {"status": status, "result": {"value": value}}}}}
    )


def steps_of(request: Document) -> Any:
    return request["record"]["metadata"]["maintenance"]["steps"]


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
def test_only_a_queued_request_is_taken(status: str) -> None:
    assert rules.QUEUED.takes(delete_request())
    assert not rules.QUEUED.takes(delete_request(status=status))


def test_requests_are_taken_oldest_first() -> None:
    requests = [delete_request("b", top={"createdAt": NOW}), delete_request("c"), delete_request("a")]
    ordered = sorted(requests, key=lambda request: rules.QUEUED.sort_key(request, request["id"]))
    assert [request["id"] for request in ordered] == ["a", "c", "b"]


def test_a_request_without_a_record_is_malformed() -> None:
    with pytest.raises(MalformedDocument):
        rules.QUEUED.takes(delete_request(top={"record": None}))
    with pytest.raises(MalformedDocument):
        Identity.of(delete_request(top={"record": None}))


def test_the_identity_is_read_from_the_record() -> None:
    request = delete_request(customerId="c", userId="u", emailHash="h", top={"customerId": "other"})
    assert Identity.of(request) == Identity("c", "u", "h")


@pytest.mark.parametrize("key", [ABSENT, None, "", 5, [], {}])
def test_a_key_that_is_no_text_names_nobody(key: object) -> None:
    assert Identity.of(delete_request(customerId=key)) == Identity()


@pytest.mark.parametrize(
    ("identity", "sentinel"),
    [
        (Identity("c", "u", "h"), "account-deleted:c"),
        (Identity(None, "u", "h"), "account-deleted-email:h"),
        (Identity(None, "u", None), "account-deleted-user:u"),
        (Identity(), None),
    ],
)
def test_the_sentinel_is_made_of_the_customer_else_the_email_else_the_user(
    identity: Identity, sentinel: str | None
) -> None:
    assert identity.sentinel == sentinel


@pytest.mark.parametrize(
    ("identity", "subjects"),
    [
        (Identity(customer_id="c"), {"c", "customer:c"}),
        (Identity(email_hash="h"), {"h", "email:h"}),
        (Identity(user_id="u"), {"user:u"}),
        (Identity(), set()),
    ],
)
def test_tokens_are_found_by_raw_and_prefixed_keys_but_by_users_prefixed_only(
    identity: Identity, subjects: set[str]
) -> None:
    assert set(identity.token_subjects) == subjects


@pytest.mark.parametrize("value", [0, 3, 2.5])
def test_a_recorded_number_counts(value: float) -> None:
    assert rules.recorded_value(recorded(value), "tokensDeleted", int) == value


@pytest.mark.parametrize("value", [True, False])
def test_a_recorded_truth_value_counts(value: bool) -> None:
    assert rules.recorded_value(recorded(value), "tokensDeleted", bool) is value


def test_a_truth_value_is_not_a_number_nor_the_other_way_round() -> None:
    assert rules.recorded_value(recorded(True), "tokensDeleted", int) is None
    assert rules.recorded_value(recorded(1), "tokensDeleted", bool) is None


@given(value=json_values, kind=st.sampled_from([int, bool]))
def test_a_recorded_value_counts_by_its_exact_type_only(value: object, kind: type[int] | type[bool]) -> None:
    counts = type(value) is bool if kind is bool else type(value) in (int, float)
    found = rules.recorded_value(recorded(value), "tokensDeleted", kind)
    assert found is (value if counts else None)


@given(result=json_values)
def test_a_result_that_is_no_object_has_no_value(result: object) -> None:
    step = {"status": "completed", "result": {} if isinstance(result, dict) else result}
    request = delete_request(metadata={"maintenance": {"steps": {"tokensDeleted": step}}})
    assert rules.recorded_value(request, "tokensDeleted", int) is None


def test_a_request_waits_while_it_is_queued() -> None:
    assert rules.is_queued(delete_request())
    assert not rules.is_queued(delete_request(status="completed"))


@given(maintenance=json_values, kind=st.sampled_from([int, bool]))
def test_whatever_stands_under_maintenance_can_be_read(maintenance: object, kind: type[int] | type[bool]) -> None:
    request = delete_request(metadata={"maintenance": maintenance})
    assert rules.recorded_value(request, "tokensDeleted", kind) is None
    assert rules.has_recorded_steps(request) in (True, False)


@pytest.mark.parametrize("status", ["failed", "started", None, 1])
def test_a_step_that_is_not_completed_does_not_count(status: object) -> None:
    assert rules.recorded_value(recorded(3, status), "tokensDeleted", int) is None


def test_another_steps_value_does_not_count() -> None:
    assert rules.recorded_value(recorded(3), "emailsRedacted", int) is None


@pytest.mark.parametrize("steps", [{"anything": None}, {"tokensDeleted": {"status": "failed"}}, {"x": 0}])
def test_any_key_under_steps_makes_a_request_resumable(steps: Document) -> None:
    assert rules.has_recorded_steps(delete_request(metadata={"maintenance": {"steps": steps}}))


@pytest.mark.parametrize(
    "metadata",
    [ABSENT, None, [], {}, {"maintenance": []}, {"maintenance": {"steps": {}}}, {"maintenance": {"steps": 1}}],
)
def test_without_a_key_under_steps_a_request_is_not_resumable(metadata: object) -> None:
    assert not rules.has_recorded_steps(delete_request(metadata=metadata))


def test_a_step_is_recorded_with_its_value_and_time() -> None:
    request = rules.with_steps(delete_request(), {"tokensDeleted": DONE}, now=NOW)
    assert steps_of(request) == {
        "tokensDeleted": {"status": "completed", "completedAt": BEFORE, "result": {"value": 3}}
    }


@given(value=st.integers(0, 10**6) | st.booleans())
def test_what_is_recorded_is_read_back(value: int | bool) -> None:
    request = rules.with_steps(delete_request(), {"step": CompletedStep(value, NOW)}, now=NOW)
    kind: type[int] | type[bool] = bool if isinstance(value, bool) else int
    assert rules.recorded_value(request, "step", kind) is value
    assert rules.has_recorded_steps(request)


def test_recording_a_step_keeps_those_recorded_earlier_and_what_else_is_there() -> None:
    request = delete_request(metadata={"ip": "x", "maintenance": {"note": 1, "steps": {"older": {"a": 1}}}})
    metadata = rules.with_steps(request, {"newer": DONE}, now=NOW)["record"]["metadata"]
    assert (metadata["ip"], metadata["maintenance"]["note"]) == ("x", 1)
    assert list(metadata["maintenance"]["steps"]) == ["older", "newer"]


def test_recording_a_step_forgets_the_last_error() -> None:
    assert "lastError" not in rules.with_steps(delete_request(lastError="x"), {"s": DONE}, now=NOW)["record"]


@pytest.mark.parametrize("metadata", [[], "text", {"maintenance": []}, {"maintenance": {"steps": "text"}}])
def test_maintenance_or_steps_that_are_no_object_are_overwritten(metadata: object) -> None:
    assert list(steps_of(rules.with_steps(delete_request(metadata=metadata), {"s": DONE}, now=NOW))) == ["s"]


def completed(request: Document) -> Document:
    return rules.completed(request, {"last": DONE}, {"tokensDeleted": 2, "customerAnonymized": True}, now=NOW)


def test_a_completed_request_says_when() -> None:
    request = completed(delete_request())
    assert (request["status"], request["record"]["status"]) == ("completed", "completed")
    assert request["record"]["completedAt"] == NOW


def test_a_completed_request_forgets_whom_it_was_about() -> None:
    request = completed(delete_request(userId="u", emailHash="h", lastError="x"))
    for place in (request, request["record"]):
        assert not {"userId", "emailHash", "confirmTokenHash", "lastError"} & set(place)


def test_a_completed_request_keeps_the_customers_number() -> None:
    assert completed(delete_request(customerId="c"))["customerId"] == "c"


def test_a_completed_request_lists_every_value_beside_its_steps() -> None:
    request = completed(delete_request(metadata={"maintenance": {"note": 1, "steps": {"first": {}}}}))
    maintenance = request["record"]["metadata"]["maintenance"]
    assert {key: value for key, value in maintenance.items() if key != "steps"} == {
        "note": 1,
        "tokensDeleted": 2,
        "customerAnonymized": True,
    }
    assert list(maintenance["steps"]) == ["first", "last"]


def test_a_request_that_failed_before_any_step_has_failed() -> None:
    request = rules.failed(delete_request(), error="blocked", now=NOW)
    assert (request["status"], request["record"]["lastError"]) == ("failed", "blocked")


def test_a_request_that_failed_after_a_step_stays_queued() -> None:
    request = rules.failed(rules.with_steps(delete_request(), {"s": DONE}, now=NOW), error="broken", now=NOW)
    assert (request["status"], request["record"]["lastError"]) == ("queued", "broken")


@given(metadata=json_objects)
def test_every_end_keeps_what_else_the_metadata_says(metadata: Document) -> None:
    request = delete_request(metadata=metadata, requestedAt=EARLIER)
    others = {key: value for key, value in metadata.items() if key != "maintenance"}
    for ended in (rules.with_steps(request, {"s": DONE}, now=NOW), completed(request)):
        assert ended["record"]["metadata"].items() >= others.items()
        assert ended["record"]["requestedAt"] == EARLIER
