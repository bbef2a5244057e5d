"""``python -m bench.ticks``: the cost of a minute, a day and a month of an every-minute job, on an idle shop.

The ticks are those of Dagster's own daemon and code server, over an instance as the project's ``dagster.yaml`` or
``deploy/dagster.yaml`` describes it. CPU is that of the daemon, the code server and the runs together. Days and months
are written with their real number of ticks, runs and observations, as fast as the storage takes them; the daily purge
of ticks, the retention of runs and a vacuum, which Postgres does by itself in a real month, come between.
"""

import json
import logging
import os
import platform
import statistics
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import click
import dagster as dg
import psutil
from rich.console import Console
from rich.table import Table
from sqlalchemy import create_engine, text

from bench.history import home_of
from mika_ops.clock import utc_now
from mika_ops.config.loading import isolated_settings
from mika_ops.config.settings import Settings
from mika_ops.orchestration.alerts.sensors import HISTORY_TICK_SECONDS, TICK_SECONDS
from mika_ops.orchestration.definitions import build_definitions
from mika_ops.orchestration.maintenance import summary
from mika_ops.orchestration.maintenance.job import JOB_NAME
from mika_ops.orchestration.observability.assets import DAILY, HOURLY, asset_key
from mika_ops.orchestration.observability.rollup import DAY, HOUR, roll_up
from mika_ops.orchestration.retention.instance_history import InstanceHistory
from mika_ops.orchestration.retention.job import HISTORY_JOB_NAME
from mika_ops.orchestration.retention.policy import Retention, delete_expired
from mika_ops.setting_names import PREFIX
from mika_ops_testing.dagster_internals import (
    InstigatorTick,
    ModuleTarget,
    QueuedRunCoordinatorDaemon,
    TickStatus,
    WorkspaceProcessContext,
    execute_sensor_iteration,
    launch_scheduled_runs,
)
from mika_ops_testing.sites import DatabaseKind, lay_out

PROJECT: Final = Path(__file__).resolve().parents[1]
RESULTS: Final = Path(__file__).parent / "results"

SKIPPED: Final = 40
LAUNCHED: Final = 6
MEASURED_RUNS: Final = 60
MINUTES: Final = 1_440
HEARTBEATS: Final = 24
LONGEST_RUN_SECONDS: Final = 60.0
EVERY_RUN: Final = 1e-6
"""So many minutes between heartbeats make every run one."""

EVERY_MINUTES: Final = {
    f"{JOB_NAME}_alerts": TICK_SECONDS // 60,
    f"{HISTORY_JOB_NAME}_alerts": HISTORY_TICK_SECONDS // 60,
}
"""How often the sensors are asked; the schedule is every minute."""


@dataclass(frozen=True)
class Bench:
    """An instance, where it is kept, and a shop that has nothing to do."""

    instance: dg.DagsterInstance
    home: Path
    kind: DatabaseKind
    minutes: list[datetime] = field(default_factory=lambda: [utc_now().replace(second=1, microsecond=0)])
    """The last minute that the daemon has lived through: a schedule's time goes forward only."""

    @property
    def shop(self) -> dict[str, str]:
        """The settings of the shop."""
        return {"database_url": f"sqlite:///{self.home / 'shop.db'}", "email_directory": str(self.home / "outbox")}

    def settings(self, **more: Any) -> Settings:
        return isolated_settings(**self.shop, **more)

    def run(self, **more: Any) -> str:
        """Run maintenance in this process; return the run's id."""
        job = build_definitions(settings=self.settings(**more)).resolve_job_def(JOB_NAME)
        return job.execute_in_process(instance=self.instance).run_id

    def heartbeat(self, *, repeats_checks: bool) -> str:
        """Run maintenance as if an hour had passed since the last run, or until all checks are repeated."""
        with patch.object(
            summary, "CHECKS_REPEATED_EVERY", timedelta(0) if repeats_checks else summary.CHECKS_REPEATED_EVERY
        ):
            return self.run(heartbeat_minutes=EVERY_RUN)

    def events(self, run_id: str) -> int:
        """Return how many events a run has recorded."""
        return len(self.instance.all_logs(run_id))

    def bytes(self) -> int:
        """Return what the storage holds: files, or the database once its dead rows can be used again."""
        if self.kind == "sqlite":
            return sum(file.stat().st_size for file in self.home.rglob("*") if file.is_file())
        engine = create_engine(os.environ["DAGSTER_POSTGRES_URL"], isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text("VACUUM"))
            size: int = connection.execute(text("SELECT pg_database_size(current_database())")).scalar_one()
        engine.dispose()
        return size

    def date(self, run_ids: list[str], since: datetime) -> None:
        """Spread runs over a day; Dagster stamps them with the real time."""
        engine = create_engine(os.environ["DAGSTER_POSTGRES_URL"])
        with engine.begin() as connection:
            for number, id_ in enumerate(run_ids):
                at = (since + DAY * number / len(run_ids)).replace(tzinfo=None)
                statement = text("UPDATE runs SET create_timestamp = :at WHERE run_id = :id")
                connection.execute(statement, {"at": at, "id": id_})
        engine.dispose()


@dataclass
class Daemon:
    """Dagster's scheduler at work on a code server, minute by minute, faster than the clock."""

    workspace: WorkspaceProcessContext
    minutes: list[datetime]
    times: dict[str, Any]

    def tick(self) -> None:
        """Let the next minute begin."""
        self.minutes[0] += timedelta(minutes=1)
        for _ in launch_scheduled_runs(self.workspace, logging.getLogger("bench"), self.minutes[0], self.times):
            pass

    def dequeue(self) -> None:
        """Start the run that waits in the queue, and wait until it has ended."""
        for _ in QueuedRunCoordinatorDaemon(interval_seconds=1).run_iteration(self.workspace):
            pass
        await_end(self.workspace.instance)

    def sense(self) -> None:
        """Let every sensor tick once."""
        for _ in execute_sensor_iteration(self.workspace, logging.getLogger("bench"), None, None):
            pass

    def cpu(self) -> float:
        """Return the CPU seconds of this process, its code server and the runs that have ended."""
        processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
        return sum(sum(process.cpu_times()[:4]) for process in processes)


@contextmanager
def daemon(bench: Bench, **more: str) -> Iterator[Daemon]:
    """Start a code server of the shop, and a daemon whose time goes by tick."""
    variables = {f"{PREFIX}{name.upper()}": value for name, value in {**bench.shop, **more}.items()}
    os.environ.update(variables)
    target = ModuleTarget("mika_ops.definitions", attribute=None, working_directory=str(PROJECT), location_name="shop")
    try:
        with WorkspaceProcessContext(bench.instance, target) as workspace:
            made = Daemon(workspace, bench.minutes, {})
            for _ in range(3):
                made.tick()
            made.dequeue()
            yield made
    finally:
        for name in variables:
            del os.environ[name]


def await_end(instance: dg.DagsterInstance) -> None:
    """Wait until no run is under way."""
    under_way = [
        dg.DagsterRunStatus.QUEUED,
        dg.DagsterRunStatus.NOT_STARTED,
        dg.DagsterRunStatus.STARTING,
        dg.DagsterRunStatus.STARTED,
    ]
    until = time.monotonic() + LONGEST_RUN_SECONDS
    while instance.get_runs_count(dg.RunsFilter(statuses=under_way)):
        if time.monotonic() > until:
            raise TimeoutError("a run of the benchmark does not end")
        time.sleep(0.2)
    time.sleep(0.5)  # its process ends a moment later, and its CPU counts


def skipped_tick(bench: Bench) -> tuple[float, list[InstigatorTick]]:
    """Return the CPU seconds of one tick that starts no run, and the ticks that a minute records."""
    bench.run()
    with daemon(bench) as made:
        before = made.cpu()
        for _ in range(SKIPPED):
            made.tick()
        seconds = (made.cpu() - before) / SKIPPED
        made.sense()
        states = bench.instance.all_instigator_state()
        ticks = [
            tick
            for state in states
            for tick in bench.instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=1)
        ]
        assert {tick.status for tick in ticks} == {TickStatus.SKIPPED}
        return seconds, ticks


def launched_run(bench: Bench) -> tuple[float, int]:
    """Return the CPU seconds of one tick that starts a run, the run included, and the events of that run."""
    with daemon(bench, idle_ticks="run") as made:
        before = made.cpu()
        for _ in range(LAUNCHED):
            made.tick()
            made.dequeue()
        seconds = (made.cpu() - before) / LAUNCHED
    return seconds, bench.events(bench.instance.get_run_ids(limit=1)[0])


def heartbeat_events(bench: Bench) -> int:
    """Return the events of a run that a tick starts and that observes everything."""
    with daemon(bench, idle_ticks="run", heartbeat_minutes=f"{EVERY_RUN:f}") as made:
        made.tick()
        made.dequeue()
    return bench.events(bench.instance.get_run_ids(limit=1)[0])


def own_evaluation(bench: Bench) -> float:
    """Return the median CPU seconds of mika-ops' part of a tick, without the instance that Dagster opens before."""
    repository = build_definitions(settings=bench.settings()).get_repository_def()
    schedule = repository.get_schedule_def(f"{JOB_NAME}_schedule")
    seconds = []
    for _ in range(SKIPPED):
        with dg.build_schedule_context(
            instance=bench.instance, scheduled_execution_time=utc_now(), repository_def=repository
        ) as context:
            assert context.instance is not None
            started = time.process_time()
            assert schedule.evaluate_tick(context).skip_message is not None
            seconds.append(time.process_time() - started)
    return statistics.median(seconds)


def bytes_of_a_run(bench: Bench) -> float:
    """Return by how much the storage grows with a run that does and observes nothing."""
    bench.run()
    before = bench.bytes()
    for _ in range(MEASURED_RUNS):
        bench.run()
    return (bench.bytes() - before) / MEASURED_RUNS


def live(bench: Bench, day: datetime, ticks: list[InstigatorTick], long_view: list[dg.AssetObservation]) -> None:
    """Write a day: each minute its ticks, an hour's heartbeat, and the hours and the day added up."""
    for number in range(MINUTES):
        at = (day + timedelta(minutes=number)).timestamp()
        if number % 60 == 0:
            bench.bytes()  # clears away dead rows, as Postgres does by itself about as often
        for tick in ticks:
            if number % EVERY_MINUTES.get(tick.instigator_name, 1):
                continue
            begun = bench.instance.create_tick(tick.tick_data._replace(status=TickStatus.STARTED, timestamp=at))
            bench.instance.update_tick(begun.with_status(TickStatus.SKIPPED, end_timestamp=at + 0.1))
    bench.date([bench.heartbeat(repeats_checks=number % 6 == 0) for number in range(HEARTBEATS)], day)
    for observation in long_view:
        for _ in range(HEARTBEATS if observation.asset_key == asset_key(HOURLY, None) else 1):
            bench.instance.report_runless_asset_event(observation)


def sleep(bench: Bench, day: datetime, ticks: list[InstigatorTick]) -> None:
    """Do what the night does: purge ticks as the daemon does, and delete old runs."""
    night = day + DAY
    for tick in ticks:
        for status, days in bench.instance.get_tick_retention_settings(tick.instigator_type).items():
            if days > 0:
                before = (night - timedelta(days=days)).timestamp()
                bench.instance.purge_ticks(tick.instigator_origin_id, tick.selector_id or "", before, [status])
    delete_expired(InstanceHistory(bench.instance), [JOB_NAME], Retention(7, 30, 100), now=night)


def long_view_of(bench: Bench) -> list[dg.AssetObservation]:
    """Return an hour and a day, as they are recorded."""
    bench.run(heartbeat_minutes=EVERY_RUN)
    for later in (HOUR, DAY):
        roll_up(bench.instance, JOB_NAME, None, now=utc_now() + later)
    found = [
        record.asset_observation
        for name in (HOURLY, DAILY)
        for record in bench.instance.fetch_observations(asset_key(name, None), limit=1).records
    ]
    return [observation for observation in found if observation is not None]


@contextmanager
def bench_of(kind: DatabaseKind) -> Iterator[Bench]:
    """Make an empty instance of one kind, and a shop."""
    with home_of(kind) as home:
        lay_out(f"sqlite:///{home / 'shop.db'}")
        os.environ["DAGSTER_HOME"] = str(home)
        before = Path.cwd()
        os.chdir(home)
        try:
            with dg.DagsterInstance.from_config(str(home)) as instance:
                yield Bench(instance, home, kind)
        finally:
            os.chdir(before)


def measured(days: int) -> Iterator[tuple[str, float, str]]:
    """Yield each measurement: its name, its value and the target."""
    for kind in ("sqlite", "postgres"):
        with bench_of(kind) as bench:
            tick, ticks = skipped_tick(bench)
            run, events = launched_run(bench)
            yield f"{kind}: CPU of a launched run, ms", 1000 * run, ""
            yield f"{kind}: CPU of a skipped tick, ms", 1000 * tick, ""
            yield f"{kind}: a skipped tick / a launched run, %", 100 * tick / run, "≤ 8"
            yield f"{kind}: mika-ops' part of a skipped tick, ms", 1000 * own_evaluation(bench), "≤ 25"
            yield f"{kind}: events of an idle run", events, "≤ 70"
            yield f"{kind}: events of a heartbeat", heartbeat_events(bench), "≤ 70"
            size = bytes_of_a_run(bench)
            yield f"{kind}: storage of an idle run, kB", size / 1e3, ""
            yield f"{kind}: a day in which every tick runs, MB", size * MINUTES / 1e6, ""
            if kind == "sqlite":
                continue
            long_view, day = long_view_of(bench), utc_now() - days * DAY
            live(bench, day - 2 * DAY, ticks, long_view)  # the first day makes room in the indexes that stays
            sleep(bench, day - 2 * DAY, ticks)
            began = bench.bytes()
            live(bench, day - DAY, [tick for tick in ticks if tick.instigator_name.endswith("_schedule")], long_view)
            yield f"{kind}: a day of {MINUTES:,} ticks, the day before kept, MB", (bench.bytes() - began) / 1e6, ""
            began = bench.bytes()
            for number in range(days):
                live(bench, day, ticks, long_view)
                if not number:
                    yield f"{kind}: a day, the sensors' ticks included, MB", (bench.bytes() - began) / 1e6, ""
                sleep(bench, day, ticks)
                day += DAY
            grown = (bench.bytes() - began) / 1e6
            yield f"{kind}: a day, on the average of {days}, MB", grown / days, "< 3"
            yield f"{kind}: {days} days with retention, MB", grown, "< 60"


@click.command()
@click.option("--days", default=30, show_default=True, help="Days that are lived through on Postgres.")
def main(days: int) -> None:
    """Measure, print a table, and write it as JSON into bench/results/."""
    logging.disable(logging.WARNING)
    table, rows = Table("", "measured", "wanted"), []
    for name, value, wanted in measured(days):
        table.add_row(name, f"{value:,.1f}", wanted)
        rows.append({"name": name, "measured": round(value, 2), "wanted": wanted})
    Console().print(table)
    RESULTS.mkdir(exist_ok=True)
    results: Mapping[str, Any] = {"machine": f"{os.cpu_count()} cores, {platform.machine()}", "measured": rows}
    (RESULTS / "ticks.json").write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
