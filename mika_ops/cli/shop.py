"""What commands read of a shop: its backlog, and the preview of a run."""

from collections.abc import Mapping, Sequence

from mika_ops.assembly import open_host, open_shop_database
from mika_ops.config.settings import run_options_from
from mika_ops.config.shop import Shop
from mika_ops.ports.backlog import Backlog
from mika_ops.store.backlog import DatabaseBacklog
from mika_ops.subtasks.dry_run import RunPreview, preview
from mika_ops.subtasks.registry import due_selections
from mika_ops.timestamps import Timestamp


def dry_run(shop: Shop, *, now: Timestamp, subtasks: Sequence[str], limits: Mapping[str, int]) -> RunPreview:
    """Return what a run would do. Changes nothing, and uses neither Dagster nor its history.

    Raises ``DatabaseError`` if the shop cannot be opened or read.
    """
    with open_host(shop) as host:
        return preview(
            host,
            now=now,
            subtasks=subtasks,
            limits={**shop.settings.limits, **limits},
            bounds=run_options_from(shop.settings),
            names=shop.names,
        )


def backlog_of(shop: Shop, now: Timestamp) -> Backlog:
    """Return what is due in the shop's database at ``now``; an empty backlog if no database is configured."""
    if shop.settings.database_url is None:
        return Backlog()
    limits = run_options_from(shop.settings)
    with open_shop_database(shop) as database:
        return DatabaseBacklog(database).read(due_selections(now, limits), now=now)
