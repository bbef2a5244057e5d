"""A run that is asked to stop (SIGTERM) stops in order, within the ten seconds that containers are given."""

import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest

from mika_ops.clock import utc_now
from mika_ops.store.opening import open_database
from mika_ops.timestamps import to_timestamp
from mika_ops_testing.builders import documents_of
from mika_ops_testing.shop_at_work import CONCURRENCY, EMAILS, World, shop_at_work
from mika_ops_testing.smtp_server import HANG
from mika_ops_testing.waiting import wait_until
from mika_ops_tests.guarantees.runner import Run, runner

pytestmark = pytest.mark.thorough  # series of runs that are stopped as processes

CANCELED = dg.DagsterRunStatus.CANCELED


def stopped(run: Run, *, meanwhile: Callable[[], None] = lambda: None) -> float:
    """Ask a run to stop; return the seconds that it takes."""
    asked = time.monotonic()
    run.kill(signal.SIGTERM)
    meanwhile()
    run.wait()
    return time.monotonic() - asked


def statuses(home: Path) -> list[dg.DagsterRunStatus]:
    with dg.DagsterInstance.from_config(str(home)) as instance:
        return [run.status for run in instance.get_runs()]


def emails(world: World) -> dict[str, list[str]]:
    """Return the ids of the emails that were to be sent, by status; none may be leased."""
    found: dict[str, list[str]] = {}
    with open_database(world.url) as shop:
        for id_, document in documents_of(shop, "ops").items():
            if id_.startswith("email_"):
                assert "leaseKey" not in document["record"], f"{id_} is leased"
                found.setdefault(document["status"], []).append(id_)
    return found


def test_a_run_that_is_asked_to_stop_records_what_was_sent_and_is_canceled(url: str, tmp_path: Path) -> None:
    with runner(tmp_path) as runs, shop_at_work(url, together=EMAILS, copies=4) as world:
        run = runs.start(world.settings, now=to_timestamp(utc_now()))
        wait_until(lambda: len(world.mailroom.deliveries) == CONCURRENCY, what="emails under way")
        assert stopped(run, meanwhile=world.mailroom.answer_messages) < 10

        assert len(emails(world)["sent"]) == len(world.mailroom.deliveries) < 4 * EMAILS
        assert statuses(tmp_path) == [CANCELED]


def test_a_mail_server_that_never_answers_does_not_hold_up_the_end(url: str, tmp_path: Path) -> None:
    with runner(tmp_path) as runs, shop_at_work(url) as world:
        world.mailroom.answers = {"the message": [HANG, HANG], "RCPT": [HANG, HANG]}
        run = runs.start(world.settings, now=to_timestamp(utc_now()))
        wait_until(lambda: world.mailroom.seen["RCPT"] == CONCURRENCY, what="no email was given to the server")
        assert stopped(run) < 10

        # Of these nobody knows whether the server took them: the attempt counts, and is made again.
        ended = {status: len(ids) for status, ids in emails(world).items()}
        assert ended == {"failed": CONCURRENCY, "queued": EMAILS - CONCURRENCY}
        assert statuses(tmp_path) == [CANCELED]


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(1, 10))])
def test_whenever_a_run_is_asked_to_stop_it_is_canceled_and_never_failed(url: str, tmp_path: Path, seed: int) -> None:
    moments = random.Random(seed)  # noqa: S311 - moments, not secrets
    with runner(tmp_path) as runs, shop_at_work(url) as world:
        run = runs.start(world.settings, now=to_timestamp(utc_now()))
        wait_until(lambda: bool(world.mailroom.deliveries), what="no email arrived")
        time.sleep(moments.uniform(0, 3))
        assert stopped(run) < 10

        emails(world)
        assert set(statuses(tmp_path)) <= {CANCELED, dg.DagsterRunStatus.SUCCESS}
