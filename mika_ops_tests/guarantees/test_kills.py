"""A run that is killed at any moment loses nothing, and leaves nothing that the next run cannot end."""

import random
import signal
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from mika_ops.clock import utc_now
from mika_ops.timestamps import to_timestamp
from mika_ops_testing.shop_at_work import World, shop_at_work
from mika_ops_testing.sites import Sites
from mika_ops_tests.guarantees.runner import Runner, runner

pytestmark = pytest.mark.thorough  # a series of kills of whole runs

LEASES_LAPSE = timedelta(minutes=10)
"""The time between two runs by their clock: longer than any lease."""

KILLS_OF_A_SHOP = 5

LONGEST_LIFE = 0.6
"""Runs are killed within this part of the time that a whole run takes, so that each dies in the middle of something."""


def in_minutes(number: int) -> str:
    """Return the time of one run after the other."""
    return to_timestamp(utc_now() + number * LEASES_LAPSE)


def different(one: dict[str, Any], other: dict[str, Any]) -> list[tuple[Any, Any]]:
    """Return the rows in which two shops differ."""
    return [
        (one[table].get(key), other[table].get(key))
        for table in one
        for key in sorted(one[table].keys() | other[table].keys())
        if one[table].get(key) != other[table].get(key)
    ]


def maintained(world: World, runs: Runner, first: int) -> None:
    """Run until nothing is left: what one run releases or expires may be the work of the next."""
    for number in (first, first + 1):
        assert runs.start(world.settings, now=in_minutes(number)).wait() == 0


def test_a_shop_comes_to_the_same_whenever_its_runs_are_killed(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    sites: Sites = request.getfixturevalue(f"{kind}_sites")
    wanted = 100 if request.config.getoption("--long") else 6
    moments = random.Random(f"kills on {kind}")  # noqa: S311 - moments, not secrets
    kills = 0
    with runner(tmp_path / "home") as runs:
        with shop_at_work(sites.new()) as run_until_interrupted:
            began = time.monotonic()
            maintained(run_until_interrupted, runs, 0)
            takes = time.monotonic() - began
            assert run_until_interrupted.broken_promises(interruptions=0) == []
        while kills < wanted:
            with shop_at_work(sites.new()) as world:
                killed = sum(_killed(world, runs, number, moments, takes / 2) for number in range(KILLS_OF_A_SHOP))
                maintained(world, runs, KILLS_OF_A_SHOP)

                assert world.broken_promises(interruptions=killed) == []
                assert different(world.state(), run_until_interrupted.state()) == []
            kills += killed


def _killed(world: World, runs: Runner, number: int, moments: random.Random, takes: float) -> bool:
    """Start a run and kill it at some moment; say whether it was not through by then."""
    run = runs.start(world.settings, now=in_minutes(number))
    time.sleep(moments.uniform(0, LONGEST_LIFE * takes))
    run.kill(signal.SIGKILL)
    return run.wait() != 0
