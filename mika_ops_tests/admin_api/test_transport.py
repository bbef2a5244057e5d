"""What the admin API's client does on the network: time, size, trust, redirects, other attempts, and the token."""

import logging
import ssl
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from mika_ops.admin_api.client import AdminApiError, MikaAdminApi
from mika_ops.admin_api.transport import LONGEST_ANSWER_BYTES
from mika_ops.redaction import redact
from mika_ops_testing.admin_api_server import (
    Exchange,
    Reply,
    Site,
    done,
    drips_a_body,
    drips_a_body_of_no_length,
    drips_headers,
    hangs_up,
    hangs_up_mid_answer,
    is_silent,
    redirects,
    refusal,
    running_site,
    says,
)
from mika_ops_testing.smtp_server import free_port, self_signed

TOKEN = "ec_pat_canary"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
PATH = "/_emdash/api/plugins/mika/admin/webhooks/replay"
IN_TIME = 5.0
SOON = 0.3
"""A time-out in seconds that tests wait for."""

Waits = list[float]


@pytest.fixture
def site() -> Iterator[Site]:
    with running_site() as running:
        yield running


@pytest.fixture
def waits() -> Waits:
    """The seconds that the client waited between its attempts, without any of them passing."""
    return []


class Timer:
    """A timer that stands still unless a test moves it."""

    seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def api_of(url: str, waits: Waits | None = None, *, timeout_seconds: float = IN_TIME, **options: Any) -> MikaAdminApi:
    slept = [] if waits is None else waits
    options = {"token": TOKEN, "now": lambda: NOW, **options}
    return MikaAdminApi(url, timeout_seconds=timeout_seconds, sleep=slept.append, **options)


def replay(url: str, waits: Waits | None = None, **options: Any) -> None:
    with api_of(url, waits, **options) as api:
        assert api.replay_webhook("webhook_1", idempotency_key="run_1:webhook_1").ok


def refused(url: str, waits: Waits | None = None, **options: Any) -> str:
    """Return the sentence of a call that fails: one that stays whole where Dagster keeps it, and without the token."""
    with pytest.raises(AdminApiError) as error:
        replay(url, waits, **options)
    told = str(error.value)
    assert redact(told) == told
    assert "canary" not in told
    return told


def test_a_connection_is_reused_for_the_next_call(site: Site) -> None:
    with api_of(site.url) as api:
        assert [api.replay_webhook(f"webhook_{n}", idempotency_key="k").ok for n in range(3)] == [True] * 3

    assert len(site.calls) == 3
    assert len(site.connections) == 1


def test_a_connection_is_reused_after_a_refusal_too(site: Site) -> None:
    site.will(says(refusal(409), status=409), says(b"<html>", status=500), says(done()))

    with api_of(site.url) as api:
        for _ in range(2):
            with pytest.raises(AdminApiError):
                api.replay_webhook("webhook_1", idempotency_key="k")
        api.replay_webhook("webhook_1", idempotency_key="k")

    assert len(site.connections) == 1


def test_a_site_that_refuses_the_connection_is_tried_again_and_told_with_what_to_check(waits: Waits) -> None:
    said = refused(f"http://127.0.0.1:{free_port()}", waits)

    assert said.startswith("the admin API did not answer webhooks/replay (ConnectError: ")
    assert said.endswith("; check MIKA_ADMIN_API_URL and the site")
    assert len(waits) == 2


@pytest.mark.parametrize("fault", [hangs_up, hangs_up_mid_answer])
def test_a_connection_that_breaks_is_tried_again(site: Site, waits: Waits, fault: Reply) -> None:
    site.will(fault, says(done()))

    replay(site.url, waits)

    assert len(site.calls) == 2
    assert len(waits) == 1


@pytest.mark.parametrize("fault", [hangs_up, hangs_up_mid_answer])
def test_a_connection_that_breaks_every_time_is_told(site: Site, fault: Reply) -> None:
    site.will(fault)

    assert "did not answer webhooks/replay (RemoteProtocolError: " in refused(site.url)
    assert len(site.calls) == 3


def test_an_address_that_cannot_be_called_is_told_by_its_setting() -> None:
    assert "MIKA_ADMIN_API_URL is no address that can be called" in refused("https://❤.example")


@pytest.mark.parametrize("slow", [is_silent, drips_headers, drips_a_body, drips_a_body_of_no_length])
def test_a_site_that_is_slow_in_any_way_is_given_up_after_the_time_out(site: Site, waits: Waits, slow: Reply) -> None:
    site.will(slow)
    started = time.monotonic()

    said = refused(site.url, waits, timeout_seconds=SOON)

    assert "did not answer webhooks/replay in the time of MIKA_ADMIN_API_TIMEOUT_SECONDS" in said
    assert SOON <= time.monotonic() - started < SOON + 1
    assert waits == []
    assert len(site.calls) == 1


def test_a_call_after_one_that_was_too_slow_is_answered(site: Site) -> None:
    site.will(says(done()), drips_a_body, says(done()))

    with api_of(site.url, timeout_seconds=SOON) as api:
        api.replay_webhook("webhook_1", idempotency_key="k")
        with pytest.raises(AdminApiError):
            api.replay_webhook("webhook_2", idempotency_key="k")
        assert api.replay_webhook("webhook_3", idempotency_key="k").ok


def test_an_answer_that_never_ends_is_not_read_past_its_bound(site: Site) -> None:
    sent = []

    def never_ends(exchange: Exchange) -> None:
        exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n")
        while True:
            exchange.send(b"x" * 100_000)
            sent.append(100_000)

    site.will(never_ends)

    said = refused(site.url)

    assert "answered webhooks/replay with 200 and more than 1,000,000 bytes" in said
    # The rest is what the network holds between the two.
    assert sum(sent) < LONGEST_ANSWER_BYTES + 20_000_000


def test_no_compressed_answer_is_asked_for_as_a_small_one_may_unpack_to_a_huge_one(site: Site) -> None:
    replay(site.url)

    assert site.calls[0].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_call_that_failed_for_now_is_tried_again_with_the_same_body_and_key(
    site: Site, waits: Waits, status: int
) -> None:
    site.will(says(b"<html>Bad gateway</html>", status=status), says(refusal(status), status=status), says(done()))

    replay(site.url, waits)

    assert [call.body["idempotencyKey"] for call in site.calls] == ["run_1:webhook_1"] * 3
    assert len({call.raw for call in site.calls}) == 1
    assert len(waits) == 2


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422, 500, 501])
def test_a_call_that_would_fail_again_is_not_tried_again(site: Site, waits: Waits, status: int) -> None:
    site.will(says({"error": {"code": "NO", "message": "No"}}, status=status))

    assert f": {status}, NO, No" in refused(site.url, waits)
    assert (len(site.calls), waits) == (1, [])


def test_a_site_that_is_down_for_ever_is_told_after_three_attempts(site: Site, waits: Waits) -> None:
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
def test_a_call_without_a_key_is_never_made_twice(site: Site, waits: Waits, fault: Reply) -> None:
    site.will(fault)

    with api_of(site.url, waits) as api, pytest.raises(AdminApiError):
        api.check()

    assert "idempotencyKey" not in site.calls[0].body
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


def test_a_longer_wait_is_told_and_left_to_the_next_run(site: Site, waits: Waits) -> None:
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


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    return self_signed(tmp_path_factory.mktemp("tls"))


def test_a_certificate_that_nobody_vouches_for_is_refused_before_the_token_is_sent(
    certificate: tuple[Path, ssl.SSLContext], waits: Waits
) -> None:
    with running_site(certificate[1]) as site:
        said = refused(site.url, waits)

        assert "the site's certificate is not trusted (self-signed certificate)" in said
        assert "authority in SSL_CERT_FILE" in said
        assert (site.calls, waits) == ([], [])


def test_a_certificate_for_another_name_is_refused(
    certificate: tuple[Path, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    with running_site(certificate[1]) as site:
        assert "the site's certificate is not trusted" in refused(f"https://localhost:{site.port}")
        assert site.calls == []


def test_a_site_whose_authority_is_named_is_called_and_given_up_in_time_as_any(
    certificate: tuple[Path, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    with running_site(certificate[1]) as site:
        replay(site.url)
        site.will(drips_headers)

        assert "did not answer webhooks/replay in the time of" in refused(site.url, timeout_seconds=SOON)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_another_host_is_refused_and_the_host_is_named(site: Site, status: int) -> None:
    with running_site() as other:
        elsewhere = f"http://user:{TOKEN}@localhost:{other.port}{PATH}?token={TOKEN}"
        site.will(redirects(status, elsewhere))

        said = refused(site.url)

        assert said.endswith(f"set MIKA_ADMIN_API_URL to the http address of localhost:{other.port}")
        assert other.calls == []
    assert len(site.calls) == 1


def test_a_redirect_to_another_port_is_one_to_another_site(site: Site) -> None:
    with running_site() as other:
        site.will(redirects(308, f"{other.url}{PATH}"))

        assert refused(site.url).endswith(f"the http address of 127.0.0.1:{other.port}")
        assert other.calls == []


@pytest.mark.parametrize("host", ["127.0.0.1", "www.shop.example"])
def test_a_redirect_to_https_is_refused_as_the_token_has_gone_in_the_clear(site: Site, host: str) -> None:
    site.will(redirects(301, f"https://{host}{PATH}"))

    assert refused(site.url).endswith(f"set MIKA_ADMIN_API_URL to the https address of {host}")


def test_a_redirect_from_https_to_http_is_refused(
    certificate: tuple[Path, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch, site: Site
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    with running_site(certificate[1]) as encrypted:
        encrypted.will(redirects(308, f"{site.url}{PATH}"))

        assert "to http, where others could read the token" in refused(encrypted.url)
    assert site.calls == []


@pytest.mark.parametrize("status", [307, 308])
@pytest.mark.parametrize(
    "location", ["{url}/moved?x=1", "/moved?x=1", "moved?x=1", "http://user:pw@127.0.0.1:{port}/moved?x=1"]
)
def test_a_redirect_that_keeps_the_body_is_followed_on_the_same_site(site: Site, status: int, location: str) -> None:
    site.will(redirects(status, location.format(url=site.url, port=site.port)), says(done()))

    replay(site.url)

    first, second = site.calls
    assert second.path.endswith("moved?x=1")
    assert second.raw == first.raw
    assert second.headers["authorization"] == f"Bearer {TOKEN}"


@pytest.mark.parametrize("status", [301, 302, 303])
def test_a_redirect_that_loses_the_body_is_refused(site: Site, status: int) -> None:
    site.will(redirects(status, "/_emdash/login"))

    assert f"with {status}, which loses what is posted: check MIKA_ADMIN_API_URL" in refused(site.url)
    assert len(site.calls) == 1


def test_redirects_without_end_are_given_up(site: Site) -> None:
    site.will(redirects(308, "/round/and/round"))

    assert "redirects webhooks/replay again and again" in refused(site.url)
    assert len(site.calls) == 4


def test_a_redirect_to_what_is_no_address_is_told(site: Site) -> None:
    site.will(redirects(308, "http://shop.example:port/"))

    assert "Invalid URL in location header" in refused(site.url)


def test_the_token_shows_neither_in_the_client_nor_in_an_error(site: Site) -> None:
    site.will(says(TOKEN.encode(), status=500))

    with api_of(site.url) as api, pytest.raises(AdminApiError) as error:
        api.release_expired_reservations(now="2026-03-01T12:00:00.000Z", idempotency_key="k")

    assert "canary" not in f"{api!r} {vars(api)!r} {vars(api._site)!r} {error.value} {error.value!r}"
    assert error.value.__cause__ is None


@pytest.mark.parametrize(
    "reply",
    [
        says(done("failed", message=TOKEN), headers={"X-Echo": TOKEN}),
        says(done(), status=500, headers={"X-Echo": f"Bearer {TOKEN}"}),
        redirects(308, f"/moved?token={TOKEN}"),
        redirects(302, f"http://{TOKEN}.example.test/{TOKEN}"),
        hangs_up,
    ],
)
def test_the_token_shows_in_no_log_even_where_the_site_repeats_it(
    site: Site, caplog: pytest.LogCaptureFixture, reply: Reply
) -> None:
    site.will(reply)

    with caplog.at_level(logging.DEBUG), api_of(f"{site.url}/{TOKEN}") as api:
        try:
            told = str(api.replay_webhook("webhook_1", idempotency_key="k"))
        except AdminApiError as error:
            told = str(error)

    assert "HTTP Request: POST" in caplog.text or reply is hangs_up
    assert "send_request_headers" in caplog.text
    assert "canary" not in caplog.text + told


def test_what_others_log_of_their_requests_is_left_as_it_is_and_nothing_stays_behind(site: Site) -> None:
    before = list(logging.getLogger("httpx").filters)

    with api_of(site.url):
        record = logging.LogRecord("httpx", logging.INFO, "", 0, "called %s", ("elsewhere",), None)
        assert logging.getLogger("httpx").filter(record)
        assert (record.msg, record.args) == ("called %s", ("elsewhere",))

    assert logging.getLogger("httpx").filters == before
