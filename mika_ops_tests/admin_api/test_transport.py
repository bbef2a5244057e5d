"""What the admin API's client does on the network: connections, time, size, trust, and the token."""

import logging
import ssl
import time
from pathlib import Path

import pytest

from mika_ops.admin_api import transport
from mika_ops.admin_api.client import AdminApiError
from mika_ops.admin_api.transport import IDLE_SECONDS, LONGEST_ANSWER_BYTES
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
    resets,
    running_site,
    says,
)
from mika_ops_testing.smtp_server import free_port
from mika_ops_tests.admin_api.calls import SOON, TOKEN, Waits, api_of, refused, replay


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


@pytest.mark.parametrize("fault", [hangs_up, resets], ids=["closed", "reset"])
def test_a_reused_connection_that_is_closed_as_a_call_is_sent_costs_one_attempt(
    site: Site, waits: Waits, fault: Reply
) -> None:
    site.will(says(done()), fault, says(done()))

    with api_of(site.url, waits) as api:
        assert [api.replay_webhook(f"webhook_{n}", idempotency_key=f"key_{n}").ok for n in range(2)] == [True, True]

    assert [call.key for call in site.calls] == ["key_0", "key_1", "key_1"]
    assert len(site.connections) == 2
    assert len(waits) == 1


def test_a_connection_is_not_reused_after_so_long_that_node_is_about_to_close_it(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    node_closes_after_seconds = 5.0
    assert node_closes_after_seconds - 1 > IDLE_SECONDS
    monkeypatch.setattr(transport, "IDLE_SECONDS", 0.01)

    with api_of(site.url) as api:
        for _ in range(2):
            api.replay_webhook("webhook_1", idempotency_key="k")
            time.sleep(0.05)

    assert len(site.connections) == 2


def test_a_site_that_refuses_the_connection_is_retried_and_reported_with_what_to_check(waits: Waits) -> None:
    said = refused(f"http://127.0.0.1:{free_port()}", waits)

    assert said.startswith("the admin API did not answer webhooks/replay (ConnectError: ")
    assert said.endswith("; check MIKA_ADMIN_API_URL and the site")
    assert len(waits) == 2


@pytest.mark.parametrize("fault", [hangs_up, hangs_up_mid_answer])
def test_a_connection_that_breaks_is_retried(site: Site, waits: Waits, fault: Reply) -> None:
    site.will(fault, says(done()))

    replay(site.url, waits)

    assert len(site.calls) == 2
    assert len(waits) == 1


@pytest.mark.parametrize("fault", [hangs_up, hangs_up_mid_answer])
def test_a_connection_that_breaks_every_time_is_reported(site: Site, fault: Reply) -> None:
    site.will(fault)

    assert "did not answer webhooks/replay (RemoteProtocolError: " in refused(site.url)
    assert len(site.calls) == 3


def test_an_address_that_cannot_be_called_is_reported_by_its_setting() -> None:
    assert "MIKA_ADMIN_API_URL is not a valid address" in refused("https://❤.example")


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
            said = str(api.replay_webhook("webhook_1", idempotency_key="k"))
        except AdminApiError as error:
            said = str(error)

    assert "HTTP Request: POST" in caplog.text or reply is hangs_up
    assert "send_request_headers" in caplog.text
    assert "canary" not in caplog.text + said


def test_what_others_log_of_their_requests_is_left_as_it_is_and_nothing_stays_behind(site: Site) -> None:
    before = list(logging.getLogger("httpx").filters)

    with api_of(site.url):
        record = logging.LogRecord("httpx", logging.INFO, "", 0, "called %s", ("elsewhere",), None)
        assert logging.getLogger("httpx").filter(record)
        assert (record.msg, record.args) == ("called %s", ("elsewhere",))

    assert logging.getLogger("httpx").filters == before
