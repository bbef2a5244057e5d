"""Whole runs at the same time do everything once."""

from contextlib import ExitStack
from pathlib import Path

import dagster as dg
import pytest

from mika_ops.clock import utc_now
from mika_ops.timestamps import to_timestamp
from mika_ops_testing.shop_at_work import EMAILS, shop_at_work
from mika_ops_testing.sites import Sites
from mika_ops_tests.guarantees.runner import runner

pytestmark = pytest.mark.thorough  # several processes, each with a Dagster of its own


@pytest.mark.parametrize(
    ("kind", "at_once"), [("sqlite", 2), pytest.param("postgres", 2, marks=pytest.mark.long), ("postgres", 4)]
)
def test_runs_at_the_same_time_do_everything_once(
    kind: str, at_once: int, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    sites: Sites = request.getfixturevalue(f"{kind}_sites")
    homes = [tmp_path / f"home_{number}" for number in range(at_once)]
    with shop_at_work(sites.new()) as world, ExitStack() as stack:
        runners = [stack.enter_context(runner(home)) for home in homes]
        now = to_timestamp(utc_now())
        runs = [each.start(world.settings, now=now) for each in runners]
        assert [run.wait() for run in runs] == [0] * at_once
        # What one had locked, the other left: the next run takes it.
        assert runners[0].start(world.settings, now=to_timestamp(utc_now())).wait() == 0

        assert world.broken_promises(interruptions=0) == []
        assert len(world.mailroom.deliveries) == EMAILS
        for home in homes:
            with dg.DagsterInstance.from_config(str(home)) as instance:
                for run in instance.get_runs():
                    assert not run.tags.get("mika/failed")
