"""Which calls of the admin API are retried, and how long the client waits between two attempts."""

import pytest

from mika_ops.admin_api.client import AdminApiError
from mika_ops_testing.admin_api_server import Reply, Site, done, hangs_up, refusal, says
from mika_ops_tests.admin_api.calls import Timer, Waits, api_of, refused, replay


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_call_that_failed_for_now_is_retried_with_the_same_body_and_key(
    site: Site, waits: Waits, status: int
) -> None:
    site.will(says(b"<html>Bad gateway</html>", status=status), says(refusal(status), status=status), says(done()))

    replay(site.url, waits)

    assert [call.key for call in site.calls] == ["run_1:webhook_1"] * 3
    assert len({call.raw for call in site.calls}) == 1
    assert len(waits) == 2


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422, 500, 501])
def test_a_call_that_would_fail_again_is_not_retried(site: Site, waits: Waits, status: int) -> None:
    site.will(says({"error": {"code": "NO", "message": "No"}}, status=status))

    assert f": {status}, NO, No" in refused(site.url, waits)
    assert (len(site.calls), waits) == (1, [])


def test_a_site_that_is_down_indefinitely_is_reported_after_three_attempts(site: Site, waits: Waits) -> None:
    site.will(says(b"Service Unavailable", status=503))

    assert refused(site.url, waits).endswith("answered webhooks/replay with 503 and no JSON object")
    assert len(site.calls) == 3


def test_the_waits_grow_and_are_scattered(site: Site, waits: Waits) -> None:
    site.will(says(b"", status=503))

    refused(site.url, waits)

    first, second = waits
    assert 0.5 <= first <= 1.0
    assert 1.0 <= second <= 1.5


@pytest.mark.parametrize(
    "fault", [hangs_up, says(b"", status=503), says(b"", status=429, headers={"Retry-After": "1"})]
)
def test_a_check_is_made_once(site: Site, waits: Waits, fault: Reply) -> None:
    site.will(fault)

    with api_of(site.url, waits) as api, pytest.raises(AdminApiError):
        api.check()

    assert (len(site.calls), waits) == (1, [])


THREE_SECONDS = [
    says(b"", status=429, headers={"Retry-After": "3"}),
    says(b"", status=503, headers={"Retry-After": "3"}),
    says(b"", status=429, headers={"Retry-After": "Sun, 01 Mar 2026 12:00:03 GMT"}),
    says(refusal(429, retryAfter=3), status=429),
    says(refusal(409, retryAfter=3), status=409),
    says({"success": False, "data": refusal(409, retryAfter=3)}, status=409),
    says(refusal(503, retryAfter=3)),
    says(refusal(429, retryAfter=2), status=429, headers={"Retry-After": "3"}),
    says(refusal(429, retryAfter="3"), status=429),
]


@pytest.mark.parametrize("asks_to_wait", THREE_SECONDS, ids=range(len(THREE_SECONDS)))
def test_a_wait_that_the_site_asks_for_is_kept_before_the_next_attempt(
    site: Site, waits: Waits, asks_to_wait: Reply
) -> None:
    site.will(asks_to_wait, says(done()))

    replay(site.url, waits)

    assert waits == [3.0]


@pytest.mark.parametrize("asked", ["soon", "-5", "nan", "inf", "", "Sun, 01 Mar 2026 11:00:00 GMT", "1e999"])
def test_a_wait_that_makes_no_sense_or_is_over_is_an_ordinary_one(site: Site, waits: Waits, asked: str) -> None:
    site.will(says(refusal(429, retryAfter=asked), status=429, headers={"Retry-After": asked}), says(done()))

    replay(site.url, waits)

    (waited,) = waits
    assert waited <= 1.0


def test_a_longer_wait_is_reported_and_left_to_the_next_run(site: Site, waits: Waits) -> None:
    site.will(says(refusal(409, "busy", "Try later.", retryAfter=29.5), status=409))

    said = refused(site.url, waits, timeout_seconds=60)

    assert said.endswith(": 409, busy, Try later.; it asks to wait 30 s: the next run retries")
    assert (len(site.calls), waits) == (1, [])


def test_waits_that_are_too_long_together_are_left_to_the_next_run(site: Site, waits: Waits) -> None:
    site.will(says(b"", status=503, headers={"Retry-After": "6"}))

    assert "it asks to wait 6 s" in refused(site.url, waits, timeout_seconds=60)
    assert waits == [6.0]


def test_a_wait_beyond_the_time_of_the_call_is_left_to_the_next_run(site: Site, waits: Waits) -> None:
    site.will(says(b"", status=503, headers={"Retry-After": "6"}))

    assert "it asks to wait 6 s" in refused(site.url, waits, timeout_seconds=5)
    assert waits == []


def test_a_site_that_throttles_is_left_alone_until_its_wait_is_over(site: Site) -> None:
    site.will(says(b"", status=429, headers={"Retry-After": "60"}), says(done()))
    timer = Timer()

    with api_of(site.url, timer=timer) as api:
        for left in (60, 59):
            with pytest.raises(AdminApiError, match=f"asks to wait {left} s: the next run retries"):
                api.replay_webhook("webhook_1", idempotency_key="k")
            timer.seconds += 1
        assert len(site.calls) == 1
        timer.seconds += 58
        assert api.replay_webhook("webhook_1", idempotency_key="k").ok


def test_a_wait_for_one_webhook_does_not_hold_up_the_others(site: Site) -> None:
    site.will(says(refusal(409, retryAfter=60), status=409), says(done()))

    with api_of(site.url) as api:
        with pytest.raises(AdminApiError):
            api.replay_webhook("webhook_1", idempotency_key="k")
        assert api.replay_webhook("webhook_2", idempotency_key="k").ok
