"""Private names of Dagster that tests and benchmarks use: its daemons, to simulate hours in seconds.

Only this module and ``mika_ops.orchestration.dagster_internals`` import ``dagster._…``. Nothing here is needed to run
mika-ops: if one of these names moves, tests and benchmarks fail to load, and no shop notices.
"""

from dagster._core.definitions.sensor_definition import SensorExecutionData
from dagster._core.remote_representation.external_data import RepositorySnap
from dagster._core.scheduler.instigation import InstigatorTick, TickStatus
from dagster._core.storage.event_log.schema import SqlEventLogStorageTable
from dagster._core.storage.tags import SCHEDULED_EXECUTION_TIME_TAG
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import ModuleTarget
from dagster._daemon.run_coordinator.queued_run_coordinator_daemon import QueuedRunCoordinatorDaemon
from dagster._daemon.sensor import execute_sensor_iteration
from dagster._scheduler.scheduler import launch_scheduled_runs

__all__ = [
    "SCHEDULED_EXECUTION_TIME_TAG",
    "InstigatorTick",
    "ModuleTarget",
    "QueuedRunCoordinatorDaemon",
    "RepositorySnap",
    "SensorExecutionData",
    "SqlEventLogStorageTable",
    "TickStatus",
    "WorkspaceProcessContext",
    "execute_sensor_iteration",
    "launch_scheduled_runs",
]
