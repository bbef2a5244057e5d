"""The conformance suite of ``AdminApi``."""

from collections.abc import Callable
from typing import Any

import pytest

from mika_ops.ports.admin_api import AdminApi, ReplayedWebhook
from mika_ops.ports.stock import ReleasedReservations
from mika_ops.redaction import redact
from mika_ops_testing.builders import NOW
from mika_ops_testing.conformance.expectations import expect, expect_equal, expect_port, expect_type, optional, required

KEY, OTHER_KEY = "run_1:webhook_1", "run_2:webhook_1"


class AdminApiConformance:
    """Holds a client of the admin API against its port.

    A host defines the fixture ``admin_api``: a client of a site that replays ``webhook_id`` and does not know
    ``unknown_webhook_id``. The fixture ``unreachable_admin_api`` is optional: a client whose site is out of reach.
    """

    webhook_id = "webhook_1"
    unknown_webhook_id = "webhook_unknown"

    @pytest.fixture
    def admin_api(self) -> Any:
        """Return a client of a site that replays ``webhook_id`` and does not know ``unknown_webhook_id``."""
        required("admin_api", "a client of a site that replays webhook_id and does not know unknown_webhook_id")

    @pytest.fixture
    def unreachable_admin_api(self) -> Any:
        """Return a client whose site cannot be reached."""
        optional("unreachable_admin_api", "your client, its site out of reach")

    def test_it_has_the_methods_of_the_port(self, admin_api: AdminApi) -> None:
        """The port: `release_expired_reservations` and `replay_webhook` exist."""
        expect_port(admin_api, AdminApi)

    def test_a_release_returns_what_was_released(self, admin_api: AdminApi) -> None:
        """`release_expired_reservations`: returns `ReleasedReservations`."""
        done: Any = admin_api.release_expired_reservations(now=NOW, idempotency_key="run_1:stock_reservations")
        advice = "release_expired_reservations must return mika_ops.ports.ReleasedReservations"
        expect_type(done, ReleasedReservations, advice)

    def test_a_release_that_is_repeated_releases_nothing_twice(self, admin_api: AdminApi) -> None:
        """`AdminApi`: a call that is repeated with its key has its first answer, or finds nothing left to do."""
        first, second = (
            admin_api.release_expired_reservations(now=NOW, idempotency_key="run_1:stock_reservations")
            for _ in range(2)
        )
        advice = "a release that is repeated with its idempotency_key must have its first answer, or release nothing"
        expect(second == first or second.released == 0, advice)

    def test_a_replay_that_the_site_accepts_is_ok(self, admin_api: AdminApi) -> None:
        """`replay_webhook`: returns `ReplayedWebhook(ok=True)` if the site replayed it."""
        done: Any = admin_api.replay_webhook(self.webhook_id, idempotency_key=KEY)
        expect_type(done, ReplayedWebhook, "replay_webhook must return mika_ops.ports.ReplayedWebhook")
        expect_equal(done, ReplayedWebhook(ok=True), "return ReplayedWebhook(ok=True) if the site replayed the webhook")

    def test_a_replay_that_is_repeated_is_ok_again(self, admin_api: AdminApi) -> None:
        """`AdminApi`: a call that is repeated with its key has its first answer, or finds nothing left to do."""
        replays = [admin_api.replay_webhook(self.webhook_id, idempotency_key=KEY) for _ in range(2)]
        advice = "a replay that is repeated with its idempotency_key must be ok, as the first was"
        expect([replay.ok for replay in replays] == [True, True], advice)

    def test_a_replay_that_the_site_refuses_is_not_ok_and_has_a_reason(self, admin_api: AdminApi) -> None:
        """`ReplayedWebhook.error`: the reason if the replay was refused or failed."""
        try:
            done = admin_api.replay_webhook(self.unknown_webhook_id, idempotency_key=OTHER_KEY)
        except Exception as error:  # noqa: BLE001 - a client may also raise what the site said
            reason = str(error)
        else:
            expect(not done.ok, "return ReplayedWebhook(ok=False, error=…), or raise, if the site refuses a replay")
            reason = done.error or ""
        expect(bool(reason), "say why the site refused a replay: in ReplayedWebhook.error, or in what is raised")
        advice = "a reason must be one line without addresses, links and tokens, at most 500 characters"
        expect_equal(reason, redact(reason), advice)

    def test_a_site_out_of_reach_raises(self, unreachable_admin_api: AdminApi) -> None:
        """Both calls: raise if the site cannot be reached."""
        api, webhook = unreachable_admin_api, self.webhook_id
        calls: dict[str, Callable[[], object]] = {
            "release_expired_reservations": lambda: api.release_expired_reservations(now=NOW, idempotency_key=KEY),
            "replay_webhook": lambda: api.replay_webhook(webhook, idempotency_key=KEY),
        }
        for name, call in calls.items():
            try:
                done = call()
            except Exception as error:  # noqa: BLE001 - any exception fits the port
                sentence = str(error)
                advice = "the error's message must be one line without addresses, links and tokens"
                expect_equal(sentence, redact(sentence), advice)
            else:
                expect(False, f"{name} must raise if the site cannot be reached; it returned {done!r}")
