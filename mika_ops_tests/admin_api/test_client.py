"""The two calls of Mika's admin API and what is made of the site's answers."""

from typing import Any

import pytest

from mika_ops.admin_api.client import AdminApiError, MikaAdminApi
from mika_ops.ports.admin_api import ReplayedWebhook
from mika_ops.ports.stock import ReleasedReservations
from mika_ops.redaction import redact
from mika_ops_testing.admin_api_server import Json, Site, done, refusal, says

TOKEN = "ec_pat_canary"
NOW = "2026-03-01T12:00:00.000Z"


def api_of(site: Site, *, url: str | None = None, token: str = TOKEN) -> MikaAdminApi:
    return MikaAdminApi(url or site.url, token, timeout_seconds=5.0, sleep=lambda _seconds: None)


def release(site: Site, *, url: str | None = None) -> ReleasedReservations:
    with api_of(site, url=url) as api:
        return api.release_expired_reservations(now=NOW, idempotency_key="run_1:stock_reservations")


def replay(site: Site) -> ReplayedWebhook:
    with api_of(site) as api:
        return api.replay_webhook("webhook_1", idempotency_key="run_1:webhook_1")


def check(site: Site) -> None:
    with api_of(site) as api:
        api.check()


def refused(site: Site) -> str:
    with pytest.raises(AdminApiError) as error:
        release(site)
    return str(error.value)


def at_the_top(envelope: Json) -> Json:
    return envelope


def under_data(envelope: Json) -> Json:
    return {"success": True, "data": envelope}


SHAPES = pytest.mark.parametrize("shape", [at_the_top, under_data])


@pytest.mark.parametrize("site_path", ["", "/", "/shop/"])
def test_a_release_is_posted_to_the_sites_admin_api(site: Site, site_path: str) -> None:
    release(site, url=site.url + site_path)

    (call,) = site.calls
    prefix = site_path.rstrip("/")
    assert call.path == f"{prefix}/_emdash/api/plugins/mika/admin/stock/release-expired-reservations"
    assert call.body == {"now": NOW}
    assert call.key == "run_1:stock_reservations"


def test_a_replay_is_posted_to_the_sites_admin_api(site: Site) -> None:
    replay(site)

    (call,) = site.calls
    assert call.path == "/_emdash/api/plugins/mika/admin/webhooks/replay"
    assert call.body == {"webhookId": "webhook_1"}
    assert call.key == "run_1:webhook_1"


def test_a_call_bears_the_token_and_says_that_it_speaks_json(site: Site) -> None:
    release(site)

    (call,) = site.calls
    assert call.headers["authorization"] == f"Bearer {TOKEN}"
    assert call.headers["accept"] == call.headers["content-type"] == "application/json"
    assert call.headers["x-emdash-request"] == "1"


@SHAPES
def test_a_release_reports_what_was_affected(site: Site, shape: Any) -> None:
    affected = {"reservationsScanned": 7, "reservationsReleased": 6, "stockItems": 3}
    site.will(says(shape(done(affected=affected))))

    assert release(site) == ReleasedReservations(scanned=7, released=6, stock_items=3)


@pytest.mark.parametrize(
    "affected", [None, [], {}, {"reservationsScanned": "seven"}, {"reservationsScanned": True}, {"stockItems": 1.5}]
)
def test_a_release_without_counts_counts_nothing(site: Site, affected: object) -> None:
    site.will(says(done(affected=affected)))

    assert release(site) == ReleasedReservations()


@SHAPES
@pytest.mark.parametrize("status", ["completed", "queued", "running"])
def test_a_replay_that_the_site_took_is_ok(site: Site, shape: Any, status: str) -> None:
    site.will(says(shape(done(status))))

    assert replay(site) == ReplayedWebhook(ok=True, unprocessed=None if status == "completed" else "running")


@pytest.mark.parametrize("status", ["failed", "unsupported"])
def test_a_replay_that_the_site_did_not_do_is_reported_with_its_message(site: Site, status: str) -> None:
    site.will(says(done(status, message="No such webhook.")))

    assert replay(site) == ReplayedWebhook(
        ok=False, error=f"the admin API answered webhooks/replay with status {status}: No such webhook."
    )


@pytest.mark.parametrize("status", ["failed", "unsupported"])
def test_a_release_that_the_site_did_not_do_raises_with_its_message(site: Site, status: str) -> None:
    site.will(says(done(status, message="Stock is read-only.")))

    assert refused(site).endswith(f"with status {status}: Stock is read-only.")


@pytest.mark.parametrize("body", [{"ok": True, "status": 200, "data": {}}, {"ok": True}, {"ok": True, "data": None}])
def test_an_answer_without_a_status_is_no_success(site: Site, body: Json) -> None:
    site.will(says(body))

    assert "with status None" in refused(site)


@SHAPES
@pytest.mark.parametrize("http_status", [200, 409])
def test_an_envelope_that_is_not_ok_raises_with_its_status_code_and_message(
    site: Site, shape: Any, http_status: int
) -> None:
    site.will(says(shape(refusal(409, "stock_conflict", "Try again.")), status=http_status))

    assert refused(site) == (
        "the admin API refused stock/release-expired-reservations: 409, stock_conflict, Try again."
    )


@SHAPES
def test_a_webhook_that_mika_does_not_find_is_no_wrong_address(site: Site, shape: Any) -> None:
    site.will(says(shape(refusal(404, "not_found", "No such webhook.")), status=404))

    assert refused(site).endswith(": 404, not_found, No such webhook.")


def test_an_envelope_that_is_ok_is_not_believed_where_the_http_status_is_an_error(site: Site) -> None:
    site.will(says(done(), status=500))

    assert "refused stock/release-expired-reservations: 500" in refused(site)


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_token_is_reported_with_what_to_set(site: Site, status: int) -> None:
    site.will(says({"error": {"code": "NO_ACCESS", "message": "Not signed in"}}, status=status))

    assert refused(site).endswith(
        f": {status}, NO_ACCESS, Not signed in; "
        "set MIKA_ADMIN_API_TOKEN to an EmDash access token that is valid and has the scope admin"
    )


def test_a_site_without_mikas_admin_api_is_reported_with_what_to_set(site: Site) -> None:
    site.will(says({"error": {"code": "NOT_FOUND", "message": "Route not found"}}, status=404))

    assert refused(site).endswith(
        ": 404, NOT_FOUND, Route not found; the plugin Mika is disabled or not installed there: enable it in EmDash's "
        "admin, or set MIKA_ADMIN_API_URL to the address of the site on which Mika runs"
    )


def test_another_error_of_emdash_is_reported_with_its_status_code_and_message(site: Site) -> None:
    site.will(says({"error": {"code": "BROKEN", "message": "It broke"}}, status=500))

    assert refused(site).endswith(": 500, BROKEN, It broke")


NO_JSON_OBJECTS = [b"<html>Hello</html>", b"", b"[]", b"null", b"\xff\xfe\x00", b"[" * 200_000, b"1" * 9_000]


@pytest.mark.parametrize("body", NO_JSON_OBJECTS, ids=range(len(NO_JSON_OBJECTS)))
@pytest.mark.parametrize("status", [200, 500, 502])
def test_an_answer_that_is_no_json_object_is_reported_with_its_status(site: Site, status: int, body: bytes) -> None:
    site.will(says(body, status=status))

    assert f"with {status} and no JSON object" in refused(site)


def test_a_page_in_place_of_an_answer_is_reported_with_what_to_set(site: Site) -> None:
    site.will(says(b"<html>Welcome to our blog</html>"))

    assert refused(site).endswith("; set MIKA_ADMIN_API_URL to the address of the site on which Mika runs")


@pytest.mark.parametrize("error", [None, [], "broken", {"code": None}, {"message": ["a", {}]}])
def test_an_error_of_any_form_is_reported_with_the_status_at_least(site: Site, error: object) -> None:
    site.will(says({"error": error}, status=500))

    assert ": 500" in refused(site)


@pytest.mark.parametrize(
    "message",
    [f"bad token {TOKEN}", f"Authorization: Bearer {TOKEN}", "mail bob@example.test", "see https://x.test/magic/1"],
)
@pytest.mark.parametrize("status", [401, 500])
def test_what_the_site_says_is_shown_without_tokens_addresses_and_links(site: Site, status: int, message: str) -> None:
    site.will(says({"error": {"code": message, "message": message}}, status=status))

    said = refused(site)

    assert all(secret not in said for secret in ("canary", "bob", "magic"))


@pytest.mark.parametrize("token", ["s3cret/plain+token", "s3cret", "S3CRET==", "a.b*s3cret|(x"])
@pytest.mark.parametrize("said", ["{}", "<{}>", "x{}y", "bad:{},", "BEARER{}"])
def test_a_token_of_any_form_is_hidden_where_the_site_repeats_it(site: Site, token: str, said: str) -> None:
    site.will(says(done("failed", message=said.format(token))))

    with api_of(site, token=token) as api:
        answered = api.replay_webhook("webhook_1", idempotency_key="k")

    assert "s3cret" not in str(answered.error).lower()
    assert "<token>" in str(answered.error)


def test_a_check_asks_for_a_webhook_that_no_site_has(site: Site) -> None:
    check(site)

    (call,) = site.calls
    assert call.path.endswith("/webhooks/replay")
    assert call.headers["authorization"] == f"Bearer {TOKEN}"
    assert call.body == {"webhookId": "mika-ops-check"}
    assert call.key == "mika-ops-check"


@pytest.mark.parametrize(
    ("status", "body", "remedy"),
    [
        (401, {"error": {"code": "INVALID_TOKEN", "message": "Invalid"}}, "set MIKA_ADMIN_API_TOKEN"),
        (403, refusal(403, "forbidden", "Scope missing"), "has the scope admin"),
        (404, b"<html>Not found</html>", "set MIKA_ADMIN_API_URL"),
        (404, {"error": {"code": "NOT_FOUND", "message": "No such plugin"}}, "set MIKA_ADMIN_API_URL"),
        (200, b"<html>Welcome</html>", "set MIKA_ADMIN_API_URL"),
        (200, done("completed"), "accepted webhooks/replay of a webhook that does not exist"),
        (503, b"down for maintenance", "answered webhooks/replay with 503"),
    ],
)
def test_a_check_that_finds_something_wrong_says_what_to_set(site: Site, status: int, body: Any, remedy: str) -> None:
    site.will(says(body, status=status))

    with pytest.raises(AdminApiError) as error:
        check(site)

    assert remedy in str(error.value)
    assert redact(str(error.value)) == str(error.value)
