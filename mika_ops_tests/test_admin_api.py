import json
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from mika_ops.admin_api import AdminApiError, MikaAdminApi
from mika_ops.ports import AdminApi, ReleasedReservations, ReplayedWebhook

TOKEN = "ec_pat_canary"
NOW = "2026-03-01T12:00:00.000Z"

Envelope = dict[str, Any]


@dataclass
class Site:
    """A site that answers every call with one answer, and keeps the calls."""

    url: str
    answer: tuple[int, bytes] = (200, b"{}")
    calls: list[tuple[str, dict[str, str], Any]] = field(default_factory=list)
    connections: set[tuple[str, int]] = field(default_factory=set)

    def will_answer(self, status: int, body: object) -> None:
        self.answer = (status, body if isinstance(body, bytes) else json.dumps(body).encode())


@pytest.fixture
def site() -> Iterator[Site]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            found.connections.add(self.client_address)
            found.calls.append((self.path, headers, json.loads(body)))
            status, answer = found.answer
            self.send_response(status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Keep the test's output clean."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found = Site(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield found
        server.shutdown()
        thread.join()


@contextmanager
def api_of(url: str, *, timeout_seconds: float = 5.0) -> Iterator[MikaAdminApi]:
    with MikaAdminApi(url, TOKEN, timeout_seconds=timeout_seconds) as api:
        yield api


def release(url: str, *, timeout_seconds: float = 5.0) -> ReleasedReservations:
    with api_of(url, timeout_seconds=timeout_seconds) as api:
        return api.release_expired_reservations(now=NOW, idempotency_key="run_1:stock_reservations")


def replay(url: str) -> ReplayedWebhook:
    with api_of(url) as api:
        return api.replay_webhook("webhook_1", idempotency_key="run_1:webhook_1")


def refused(url: str, *, timeout_seconds: float = 5.0) -> str:
    with pytest.raises(AdminApiError) as error:
        release(url, timeout_seconds=timeout_seconds)
    return str(error.value)


def ok(status: str = "completed", **data: Any) -> Envelope:
    return {"ok": True, "status": 200, "data": {"status": status, **data}}


def at_the_top(envelope: Envelope) -> Envelope:
    return envelope


def under_data(envelope: Envelope) -> Envelope:
    return {"success": True, "data": envelope}


def test_it_fits_the_port() -> None:
    with api_of("http://127.0.0.1:1") as api:
        assert isinstance(api, AdminApi)


@pytest.mark.parametrize("site_path", ["", "/", "/shop/"])
def test_a_release_is_posted_to_the_sites_admin_api(site: Site, site_path: str) -> None:
    site.will_answer(200, ok())

    release(site.url + site_path)

    ((path, _headers, body),) = site.calls
    prefix = site_path.rstrip("/")
    assert path == f"{prefix}/_emdash/api/plugins/mika/admin/stock/release-expired-reservations"
    assert body == {"now": NOW, "idempotencyKey": "run_1:stock_reservations"}


def test_a_replay_is_posted_to_the_sites_admin_api(site: Site) -> None:
    site.will_answer(200, ok())

    replay(site.url)

    ((path, _headers, body),) = site.calls
    assert path == "/_emdash/api/plugins/mika/admin/webhooks/replay"
    assert body == {"webhookId": "webhook_1", "idempotencyKey": "run_1:webhook_1"}


def test_a_call_bears_the_token_and_says_that_it_speaks_json(site: Site) -> None:
    site.will_answer(200, ok())

    release(site.url)

    ((_path, headers, _body),) = site.calls
    assert headers["authorization"] == f"Bearer {TOKEN}"
    assert headers["accept"] == headers["content-type"] == "application/json"
    assert headers["x-emdash-request"] == "1"


@pytest.mark.parametrize("shape", [at_the_top, under_data])
def test_a_release_tells_what_was_affected(site: Site, shape: Any) -> None:
    affected = {"reservationsScanned": 7, "reservationsReleased": 6, "stockItems": 3}
    site.will_answer(200, shape(ok(affected=affected)))

    assert release(site.url) == ReleasedReservations(scanned=7, released=6, stock_items=3)


@pytest.mark.parametrize("affected", [None, [], {}, {"reservationsScanned": "seven"}])
def test_a_release_without_counts_counts_nothing(site: Site, affected: object) -> None:
    site.will_answer(200, ok(affected=affected))

    assert release(site.url) == ReleasedReservations()


@pytest.mark.parametrize("shape", [at_the_top, under_data])
@pytest.mark.parametrize("status", ["completed", "queued", "running"])
def test_a_replay_that_the_site_took_is_ok(site: Site, shape: Any, status: str) -> None:
    site.will_answer(200, shape(ok(status)))

    assert replay(site.url) == ReplayedWebhook(ok=True)


@pytest.mark.parametrize("status", ["failed", "unsupported"])
def test_a_replay_that_the_site_did_not_do_is_told_with_its_message(site: Site, status: str) -> None:
    site.will_answer(200, ok(status, message="No such webhook."))

    assert replay(site.url) == ReplayedWebhook(
        ok=False, error=f"the admin API answered webhooks/replay with status {status}: No such webhook."
    )


@pytest.mark.parametrize("status", ["failed", "unsupported"])
def test_a_release_that_the_site_did_not_do_raises_with_its_message(site: Site, status: str) -> None:
    site.will_answer(200, ok(status, message="Stock is read-only."))

    assert refused(site.url).endswith(f"with status {status}: Stock is read-only.")


@pytest.mark.parametrize("body", [{"ok": True, "status": 200, "data": {}}, {"ok": True}, {"ok": True, "data": None}])
def test_an_answer_without_a_status_is_no_success(site: Site, body: Envelope) -> None:
    site.will_answer(200, body)

    assert "with status None" in refused(site.url)


@pytest.mark.parametrize("shape", [at_the_top, under_data])
@pytest.mark.parametrize("http_status", [200, 409])
def test_an_envelope_that_is_not_ok_raises_with_its_code_and_message(site: Site, shape: Any, http_status: int) -> None:
    error = {"code": "stock_conflict", "message": "Try again.", "retryAfter": 30}
    site.will_answer(http_status, shape({"ok": False, "status": 409, "error": error}))

    assert refused(site.url) == (
        f"the admin API refused stock/release-expired-reservations: {http_status}, stock_conflict, Try again."
    )


def test_an_envelope_that_is_ok_is_not_believed_where_the_http_status_is_an_error(site: Site) -> None:
    site.will_answer(500, ok())

    assert "refused stock/release-expired-reservations: 500" in refused(site.url)


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_token_is_told_with_what_to_check(site: Site, status: int) -> None:
    site.will_answer(status, {"error": {"code": "UNAUTHORIZED", "message": "Not signed in"}})

    assert refused(site.url).endswith(
        f"{status}, UNAUTHORIZED, Not signed in, check MIKA_ADMIN_API_TOKEN and its scope"
    )


@pytest.mark.parametrize("status", [404, 500])
def test_an_error_of_emdash_is_told_with_its_status_code_and_message(site: Site, status: int) -> None:
    site.will_answer(status, {"error": {"code": "BROKEN", "message": "It broke"}})

    assert refused(site.url).endswith(f": {status}, BROKEN, It broke")


@pytest.mark.parametrize("body", [b"<html>Gateway</html>", b"", b"[]", b"null", b"\xff\xfe\x00"])
@pytest.mark.parametrize("status", [200, 502])
def test_an_answer_that_is_no_json_object_is_told_with_its_status(site: Site, status: int, body: bytes) -> None:
    site.will_answer(status, body)

    assert refused(site.url).endswith(f"with {status} and no JSON object")


def test_a_redirect_is_not_followed_with_the_token(site: Site) -> None:
    site.will_answer(302, b"")

    assert "302" in refused(site.url)
    assert len(site.calls) == 1


def test_a_site_that_refuses_the_connection_is_told_with_what_to_check() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]

    said = refused(f"http://127.0.0.1:{port}")

    assert "did not answer stock/release-expired-reservations (ConnectError); check MIKA_ADMIN_API_URL" in said


def test_a_site_that_accepts_and_says_nothing_is_given_up_after_the_time_out() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        said = refused(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout_seconds=0.2)

    assert "did not answer stock/release-expired-reservations (ReadTimeout)" in said


def test_a_connection_is_reused_for_the_next_call(site: Site) -> None:
    site.will_answer(200, ok())

    with api_of(site.url) as api:
        assert [api.replay_webhook(f"webhook_{n}", idempotency_key="k").ok for n in range(3)] == [True] * 3

    assert len(site.calls) == 3
    assert len(site.connections) == 1


@pytest.mark.parametrize(
    "message",
    [f"bad token {TOKEN}", f"Authorization: Bearer {TOKEN}", "mail bob@example.test", "see https://x.test/magic/1"],
)
def test_what_the_site_says_is_told_without_tokens_addresses_and_links(site: Site, message: str) -> None:
    site.will_answer(401, {"error": {"code": "UNAUTHORIZED", "message": message}})

    said = refused(site.url)

    assert all(secret not in said for secret in ("canary", "bob", "magic"))


def test_the_token_shows_neither_in_the_client_nor_in_an_error(site: Site) -> None:
    site.will_answer(500, f"{TOKEN}".encode())

    with api_of(site.url) as api, pytest.raises(AdminApiError) as error:
        api.release_expired_reservations(now=NOW, idempotency_key="k")

    assert "canary" not in f"{api!r} {api._client!r} {api._client.headers!r} {error.value} {error.value!r}"
    assert error.value.__cause__ is None
