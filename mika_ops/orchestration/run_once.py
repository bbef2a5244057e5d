"""Runs the maintenance job once from the command line, and records the run if there is a Dagster instance."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mika_ops.assembly import open_host
from mika_ops.clock import utc_now
from mika_ops.config.errors import SettingsError
from mika_ops.config.shop import Shop
from mika_ops.subtasks.outcome import Failed, Outcome
from mika_ops.subtasks.registry import SUBTASK_NAMES
from mika_ops.timestamps import Timestamp, to_timestamp


@dataclass(frozen=True)
class RunReport:
    """The result of a run: the outcome of each subtask by name. ``now``: the time at which it evaluated what is due."""

    run_id: str
    success: bool
    now: Timestamp
    subtasks: Mapping[str, Outcome]

    @property
    def errors(self) -> dict[str, str]:
        """The errors of the subtasks that failed, by name."""
        return {name: outcome.error for name, outcome in self.subtasks.items() if isinstance(outcome, Failed)}

    @property
    def is_degraded(self) -> bool:
        """Whether any subtask failed.

        A skipped subtask did not fail. Malformed documents fail no subtask: they need manual action.
        """
        return bool(self.errors)


def run_once(
    shop: Shop,
    *,
    now: Timestamp | None = None,
    subtasks: Sequence[str] = (),
    limits: Mapping[str, int] | None = None,
) -> RunReport:
    """Run maintenance once. If ``DAGSTER_HOME`` is set, the history of that instance records the run.

    Raises ``UnusableDatabase`` or ``SettingsError`` before anything is changed, if the shop or the history cannot be
    opened.
    """
    import dagster as dg

    from mika_ops.orchestration.dagster_internals import create_run, execute_run
    from mika_ops.orchestration.maintenance.job import maintenance_job
    from mika_ops.orchestration.maintenance.resources import resources_for
    from mika_ops.orchestration.outcomes import read_outcomes

    with open_host(shop):
        pass
    job = maintenance_job(console_level="CRITICAL")
    definitions = dg.Definitions(jobs=[job], resources=resources_for(shop))
    now = now or to_timestamp(utc_now())
    config = {"now": now, "subtasks": list(subtasks), "limits": dict(limits or {})}
    home = os.environ.get("DAGSTER_HOME")
    if home and not (Path(home).is_absolute() and Path(home).is_dir()):
        raise SettingsError(
            f"DAGSTER_HOME is {home!r}: set it to the absolute path of a folder, or unset it to record nothing"
        )
    try:
        history = dg.DagsterInstance.get() if home else dg.DagsterInstance.ephemeral()
    except Exception as error:  # noqa: BLE001 - its storage may raise anything; nothing has started yet
        raise SettingsError(
            f"the history in DAGSTER_HOME cannot be opened ({type(error).__name__}): check the dagster.yaml there and "
            "what it needs, or unset DAGSTER_HOME to record nothing"
        ) from None
    with history as instance:
        # Not ``execute_in_process``: it replaces the executor, and an interrupted run would end as failed.
        planned_job = definitions.resolve_job_def(job.name)
        done = execute_run(planned_job, create_run(planned_job, instance, config), instance)
        outcomes = read_outcomes(instance, done.run_id, chosen=subtasks or SUBTASK_NAMES)
    stopped = Failed(error="not run: the run was stopped before this subtask ended")
    return RunReport(done.run_id, done.success, now, {name: outcomes.get(name, stopped) for name in SUBTASK_NAMES})
