"""The client against what a running site answered: EmDash 0.32 with Mika 0.1.1, with and without its unique index."""

from typing import Any

import pytest

from mika_ops.admin_api.client import AdminApiError
from mika_ops.ports.admin_api import ReplayedWebhook
from mika_ops.ports.stock import ReleasedReservations
from mika_ops_testing.admin_api_server import Call, Site, no_such_webhook, says, wants_a_key
from mika_ops_testing.recorded_admin_api import COPIES, RECORDINGS, Exchange, RecordedSite, exchange, recorded_calls
from mika_ops_tests.admin_api.calls import TOKEN, api_of

NOW = "2026-03-01T12:00:00.000Z"
ABSENT = "the recorded exchanges are not beside this checkout, in ../shared/contract/exchanges"


@pytest.fixture
def recorded_site(site: Site) -> RecordedSite:
    site.reply_to = RecordedSite(TOKEN)
    return site.reply_to


def released(site: Site, key: str = "run_1:stock_reservations", *, now: str = NOW, **options: Any) -> Any:
    with api_of(site.url, **options) as api:
        return api.release_expired_reservations(now=now, idempotency_key=key)


def replayed(site: Site, key: str = "run_1:webhook_1:0", **options: Any) -> ReplayedWebhook:
    with api_of(site.url, **options) as api:
        return api.replay_webhook("webhook_1", idempotency_key=key)


@pytest.mark.skipif(not RECORDINGS.exists(), reason=ABSENT)
def test_the_copies_in_the_repository_are_the_recordings() -> None:
    names = sorted(path.name for path in COPIES.glob("*.json"))
    assert len(names) > 40
    assert [name for name in names if (COPIES / name).read_bytes() != (RECORDINGS / name).read_bytes()] == []


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("release-no-key", "admin/stock/release-expired-reservations"),
        ("release-header-empty", "admin/stock/release-expired-reservations"),
        ("replay-no-key", "admin/webhooks/replay"),
    ],
)
def test_the_test_site_refuses_a_call_without_a_key_as_recorded(name: str, path: str) -> None:
    assert wants_a_key(Call(path, {}, {}, b"")) == exchange(name).answered


def test_the_test_site_knows_no_webhook_of_a_check_as_recorded() -> None:
    assert no_such_webhook("mika-ops-check") == exchange("check-by-unknown-webhook").answered


def test_a_release_succeeds(site: Site, recorded_site: RecordedSite) -> None:
    recorded_site.releases = ("release-header-only",)

    assert released(site) == ReleasedReservations(scanned=1, released=1, stock_items=1)
    assert recorded_site.ran == ["run_1:stock_reservations"]


def test_a_replay_succeeds(site: Site, recorded_site: RecordedSite) -> None:
    assert replayed(site).ok
    assert recorded_site.ran == ["run_1:webhook_1:0"]


@pytest.mark.parametrize(
    ("name", "meaning"),
    [
        ("replay-succeeds", ReplayedWebhook(ok=True)),
        ("replay-processed", ReplayedWebhook(ok=True, unprocessed="not_eligible")),
        ("replay-live-lease", ReplayedWebhook(ok=True, unprocessed="running")),
        ("replay-fails-again", ReplayedWebhook(ok=False)),
        (
            "replay-payload-purged",
            ReplayedWebhook(
                ok=False,
                error="the admin API answered webhooks/replay with status failed: "
                "Webhook payload could not be reconstructed for replay.",
            ),
        ),
    ],
)
def test_a_replay_that_mika_answered_is_read_as_what_it_did(
    site: Site, recorded_site: RecordedSite, name: str, meaning: ReplayedWebhook
) -> None:
    recorded_site.replays = (name,)

    assert replayed(site) == meaning


def test_a_check_runs_nothing(site: Site, recorded_site: RecordedSite) -> None:
    with api_of(site.url) as api:
        api.check()

    assert len(site.calls) == 1
    assert recorded_site.ran == []


@pytest.mark.parametrize("key", ["ключ", "a\nb", "k" * 201, " padded ", "two words", "é", "\x7f", "\ud800"])
def test_a_key_that_no_header_can_hold_is_sent_as_its_digest(site: Site, recorded_site: RecordedSite, key: str) -> None:
    released(site, key)
    released(site, key)
    released(site, f"{key}.")

    first, second, other = (call.headers["idempotency-key"] for call in site.calls)
    assert first == second != other
    assert first.isascii()
    assert first.isprintable()
    assert len(first) <= 200


def test_an_empty_key_is_sent_by_nobody(site: Site) -> None:
    with pytest.raises(ValueError, match="must not be empty"):
        released(site, "")

    assert site.calls == []


def test_a_key_of_200_characters_is_sent_as_it_is(site: Site) -> None:
    released(site, "k" * 200)

    assert site.calls[0].key == "k" * 200


def test_on_emdash_0_32_a_repeated_key_runs_again(site: Site, recorded_site: RecordedSite) -> None:
    recorded_site.releases = ("release-one-expired", "release-same-key-same-body")

    assert [released(site).released for _ in range(2)] == [1, 0]
    assert len(recorded_site.ran) == 2


def test_from_emdash_0_33_on_a_repeated_key_has_its_first_answer(site: Site, recorded_site: RecordedSite) -> None:
    recorded_site.keeps_keys = True
    recorded_site.releases = ("unique-index-release-one-expired", "release-nothing-expired")

    assert [released(site).released for _ in range(2)] == [1, 1]
    assert len(recorded_site.ran) == 1


def test_from_emdash_0_33_on_a_repeated_key_with_other_input_is_refused(
    site: Site, recorded_site: RecordedSite
) -> None:
    recorded_site.keeps_keys = True
    released(site)

    with pytest.raises(AdminApiError, match="409, IDEMPOTENCY_MISMATCH"):
        released(site, now="2026-03-01T12:05:00.000Z")


def test_a_proxy_that_drops_the_header_is_reported(site: Site) -> None:
    site.will(says(exchange("check-by-unknown-webhook-no-header").answered))

    with api_of(site.url) as api, pytest.raises(AdminApiError, match="requires an idempotency key"):
        api.check()


def answer_of(site: Site, each: Exchange) -> ReplayedWebhook | ReleasedReservations:
    """Make the recorded call, have it answered as recorded, and return what the client makes of it."""
    site.will(each.reply())
    with api_of(site.url) as api:
        if each.call.endswith("replay"):
            return api.replay_webhook("webhook_1", idempotency_key="k")
        return api.release_expired_reservations(now=NOW, idempotency_key="k")


@pytest.mark.skipif(not RECORDINGS.exists(), reason=ABSENT)
@pytest.mark.parametrize("each", [each for each in recorded_calls() if each.data], ids=lambda each: each.name)
def test_every_recorded_answer_to_a_call_that_was_accepted_is_read(site: Site, each: Exchange) -> None:
    assert each.data is not None
    answer = answer_of(site, each)

    if isinstance(answer, ReplayedWebhook):
        assert answer.ok == (each.data["status"] != "failed")
        processed = answer.ok and answer.unprocessed is None
        assert processed == (each.data["affected"]["processed"] == 1)
        assert (answer.unprocessed == "running") == (each.data["status"] == "running")
        assert (answer.error is not None) == (not answer.ok and "message" in each.data)
    else:
        assert answer.released == each.data["affected"]["reservationsReleased"]


@pytest.mark.skipif(not RECORDINGS.exists(), reason=ABSENT)
@pytest.mark.parametrize("each", [each for each in recorded_calls() if not each.data], ids=lambda each: each.name)
def test_every_recorded_refusal_is_reported_with_its_code(site: Site, each: Exchange) -> None:
    with pytest.raises(AdminApiError, match=rf"\b{each.code}\b"):
        answer_of(site, each)
