"""What is reported of each recorded refusal: what to do about it, and whether it is temporary."""

from collections.abc import Callable

import pytest

from mika_ops.admin_api.client import AdminApiError, MikaAdminApi
from mika_ops.admin_api.responses import AdminApiUnavailable
from mika_ops.redaction import LONGEST_SENTENCE, redact
from mika_ops.setting_names import PLAIN_NAMES, SettingNames
from mika_ops_testing.admin_api_server import Reply, Site, refusal, says
from mika_ops_testing.recorded_admin_api import recorded
from mika_ops_tests.admin_api.calls import Waits, api_of

NOW = "2026-03-01T12:00:00.000Z"


def release(api: MikaAdminApi) -> object:
    return api.release_expired_reservations(now=NOW, idempotency_key="run_1:stock_reservations")


def replay(api: MikaAdminApi) -> object:
    return api.replay_webhook("webhook_1", idempotency_key="run_1:webhook_1:0")


def refused(
    site: Site,
    waits: Waits | None = None,
    *,
    call: Callable[[MikaAdminApi], object] = release,
    names: SettingNames = PLAIN_NAMES,
) -> AdminApiError:
    """Have a call refused; return the error, whose sentence stays whole where it is shown."""
    with api_of(site.url, waits, names=names) as api, pytest.raises(AdminApiError) as error:
        call(api)
    sentence = str(error.value)
    assert redact(sentence) == sentence
    return error.value


REMEDIES = {
    "release-bad-token": "the token is unknown or expired, or its user is disabled: set MIKA_EU_ADMIN_API_TOKEN to",
    "release-expired-token": "the token is unknown or expired, or its user is disabled: set MIKA_EU_ADMIN_API_TOKEN to",
    "release-role-missing": "user is not an admin: give the user the role admin, or set MIKA_EU_ADMIN_API_TOKEN to",
    "release-scope-missing": "the token lacks the scope admin: set MIKA_EU_ADMIN_API_TOKEN to an EmDash access token",
    "release-no-csrf-header-foreign-origin": "adds the header Origin or removes X-EmDash-Request",
    "disabled-release": "the plugin Mika is disabled or not installed there: enable it in EmDash's admin",
    "disabled-replay": "or set MIKA_EU_ADMIN_API_URL to the address of the site on which Mika runs",
    "unknown-page-html": "set MIKA_EU_ADMIN_API_URL to the address of the site on which Mika runs",
    "release-no-key": "a proxy before the site removes the header Idempotency-Key",
    "replay-no-key": "a proxy before the site removes the header Idempotency-Key",
    "unique-index-release-stored-answer-unusable": "has done this and cannot repeat its answer: the next run uses",
    "unique-index-release-same-key-other-now": "the key was used for another call: the next run uses a new key",
    "unique-index-replay-key-of-another-webhook": "the key was used for another call: the next run uses a new key",
    "release-now-invalid": "(now: Invalid ISODateTime 'yesterday'.); Mika wants other input than this version of",
    "replay-no-webhook-id": "(webhookId: Invalid input: expected string, received undefined); Mika wants other input",
    "replay-unknown-webhook": "the webhook does not exist any more: its workflow cannot be completed by a replay",
    "release-put": "a proxy before the site changes the method POST",
    "release-orphan-reservation": "one reservation whose stock item does not exist keeps all from being released",
    "replay-storage-missing": "the site's log has the cause, which may be its database",
}


@pytest.mark.parametrize(("name", "remedy"), REMEDIES.items(), ids=REMEDIES)
def test_a_recorded_refusal_is_reported_with_its_remedy_and_not_repeated(
    site: Site, waits: Waits, name: str, remedy: str
) -> None:
    site.will(recorded(name))

    error = refused(site, waits, call=replay if "replay" in name else release, names=SettingNames("MIKA_EU_"))

    assert remedy in str(error)
    assert not isinstance(error, AdminApiUnavailable)
    assert (len(site.calls), waits) == (1, [])


TEMPORARY = {
    "database-down-release": "the site cannot verify tokens now, which is temporary: check whether its database is",
    "database-down-replay": "whether a proxy before the site removes the header Authorization",
    "started-without-database-release": "has not connected to its database yet, which is temporary",
}


@pytest.mark.parametrize(("name", "remedy"), TEMPORARY.items(), ids=TEMPORARY)
def test_a_recorded_refusal_of_a_site_without_its_database_is_temporary_and_does_not_blame_the_token(
    site: Site, waits: Waits, name: str, remedy: str
) -> None:
    site.will(recorded(name))

    error = refused(site, waits)

    assert remedy in str(error)
    assert isinstance(error, AdminApiUnavailable)
    assert "ADMIN_API_TOKEN" not in str(error)
    assert (len(site.calls), len(waits)) == (3, 2)


@pytest.mark.parametrize("name", TEMPORARY)
def test_a_site_whose_database_is_back_in_time_accepts_the_call(site: Site, name: str) -> None:
    site.will(recorded(name), recorded("release-header-only"))

    with api_of(site.url) as api:
        assert api.release_expired_reservations(now=NOW, idempotency_key="k").released == 1


class TestACallThatIsInProgress:
    """Its first attempt still runs on the site: one whose answer was lost, for example."""

    def test_it_is_repeated_with_the_same_key_until_it_is_done(self, site: Site, waits: Waits) -> None:
        still = [recorded(f"unique-index-release-concurrent-same-key-{n}") for n in (2, 2, 2, 2, 2)]
        site.will(*still, recorded("unique-index-release-concurrent-same-key-afterwards"))

        with api_of(site.url, waits, timeout_seconds=30) as api:
            released = api.release_expired_reservations(now=NOW, idempotency_key="run_1:stock_reservations")

        assert released.released == 2
        assert {(call.key, call.raw) for call in site.calls} == {(site.calls[0].key, site.calls[0].raw)}
        assert len(site.calls) == len(waits) + 1 == 6
        assert max(waits) <= 2.0

    def test_a_broken_connection_and_a_call_in_progress_are_one_call(self, site: Site, waits: Waits) -> None:
        in_progress = recorded("unique-index-replay-slow-same-key-meanwhile")
        site.will(says(b"", status=502), in_progress, in_progress, in_progress, recorded("replay-succeeds"))

        with api_of(site.url, waits, timeout_seconds=30) as api:
            assert api.replay_webhook("webhook_1", idempotency_key="k").ok

        assert len(site.calls) == 5

    @pytest.mark.parametrize(
        "name", ["unique-index-release-after-the-site-was-killed", "unique-index-release-concurrent-same-key-2"]
    )
    def test_it_is_given_up_at_the_deadline_and_left_to_a_new_key(self, site: Site, waits: Waits, name: str) -> None:
        site.will(recorded(name))

        sentence = str(refused(site, waits))

        assert "still running, or the site stopped during it: the next run uses a new key" in sentence
        assert 3.0 < sum(waits) < 5.0
        assert len(site.calls) == len(waits) + 1 > 3

    def test_a_new_key_is_accepted_after_the_site_was_killed(self, site: Site) -> None:
        site.will(recorded("unique-index-release-after-the-site-was-killed-new-key"))

        with api_of(site.url) as api:
            assert api.release_expired_reservations(now=NOW, idempotency_key="run_2:stock_reservations").released == 1

    def test_another_conflict_is_not_repeated(self, site: Site, waits: Waits) -> None:
        site.will(says({"success": True, "data": refusal(409, "CONFLICT", "The stock was adjusted meanwhile.")}))

        assert str(refused(site, waits)).endswith(": 409, CONFLICT, The stock was adjusted meanwhile.")
        assert waits == []


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("answer", [says, lambda body, status: says(body.decode(), status=status)])
def test_a_refusal_of_a_proxy_blames_the_proxy(site: Site, status: int, answer: Callable[..., Reply]) -> None:
    site.will(answer(b"<html>Sign in</html>", status=status))

    assert "this is not EmDash's answer: have the proxy or firewall before the site" in str(refused(site))


def test_what_to_do_is_shown_whole_however_much_the_site_says(site: Site) -> None:
    long = {"code": "INVALID_TOKEN", "message": "x" * 5000}
    site.will(says({"error": long}, status=401))

    sentence = str(refused(site))

    assert sentence.endswith("set MIKA_ADMIN_API_TOKEN to a valid EmDash access token with the scope admin")
    assert len(sentence) <= LONGEST_SENTENCE
