"""A shop's database as the commands read it."""

from collections.abc import Mapping, Sequence

from mika_ops.assembly import assembled
from mika_ops.config.settings import Settings, limits_from
from mika_ops.ports.backlog import Backlog
from mika_ops.store.backlog import DatabaseBacklog
from mika_ops.store.opening import open_database
from mika_ops.subtasks.dry_run import Plan, planned
from mika_ops.subtasks.registry import due_selections
from mika_ops.timestamps import Timestamp


def dry_run(settings: Settings, *, now: Timestamp, subtasks: Sequence[str], limits: Mapping[str, int]) -> Plan:
    """Return what a run would do, changing nothing, without Dagster and its history.

    Raises ``DatabaseError`` where the shop cannot be opened or read.
    """
    with assembled(settings) as host:
        return planned(
            host, now=now, subtasks=subtasks, limits={**settings.limits, **limits}, bounds=limits_from(settings)
        )


def backlog_of(settings: Settings, now: Timestamp) -> Backlog:
    """Return what is due in the shop's database at ``now``; nothing where none is configured."""
    if settings.database_url is None:
        return Backlog()
    limits = limits_from(settings)
    with open_database(settings.database_url.get_secret_value(), plugin_id=settings.plugin_id) as database:
        return DatabaseBacklog(database).read(due_selections(now, limits), now=now)
