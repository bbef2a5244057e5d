"""The query with which a tick of the schedule finds out what is due."""

import threading
import time
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from mika_ops.assembly import configured_components, open_shop_database
from mika_ops.config.settings import run_options_from
from mika_ops.config.shop import Shop
from mika_ops.host.components import COMPONENTS
from mika_ops.host.lazy import resolve_component
from mika_ops.ports.backlog import Backlog, BacklogReader
from mika_ops.rules import email
from mika_ops.store.backlog import DatabaseBacklog
from mika_ops.store.database import Database
from mika_ops.store.documents import Documents
from mika_ops.subtasks.registry import SUBTASKS, due_selections
from mika_ops.subtasks.subtask import missing_components
from mika_ops.timestamps import Timestamp

KEPT_SECONDS: Final = 600.0
"""How long a connection is kept. A new connection also detects tables that were created in the meantime."""

_WITHOUT_DATA: Final = frozenset({"backlog", "admin_api"})
"""The components that hold none of the shop's data: if a host supplies only these, the database has the backlog."""


@dataclass(frozen=True)
class PendingWork:
    """How much is due for each subtask that can run, and when the next email is due."""

    due: Mapping[str, int] = field(default_factory=dict)
    next_email_at: Timestamp | None = None


class BacklogProbe:
    """Reads the pending work, tick after tick. It keeps its connection to Postgres and replaces one that is lost."""

    def __init__(self, shop: Shop, *, timer: Callable[[], float] = time.monotonic) -> None:
        """Open nothing yet."""
        self._shop = shop
        self._timer = timer
        self._opened_at = 0.0
        self._host = shop.supplied
        components = configured_components(shop)
        self._runnable = [
            subtask.name
            for subtask in SUBTASKS
            if not missing_components(subtask, components) and shop.settings.limits.get(subtask.name) != 0
        ]
        self._lock = threading.Lock()
        self._database: Database | None = None
        self._closer: weakref.finalize[..., BacklogProbe] | None = None

    def probe(self, now: Timestamp) -> PendingWork | None:
        """Return the pending work of the subtasks that can run at ``now``, or ``None`` if only the host knows it.

        Raises what the database raises, after one retry on a new connection.
        """
        if not self._runnable:
            return PendingWork()
        if self._host.backlog is not None:
            reader = resolve_component("Host(backlog)", BacklogReader, self._host.backlog)
            backlog = reader.read(due_selections(now, run_options_from(self._shop.settings)), now=now)
            return self._pending(backlog) if backlog.due.keys() >= set(self._runnable) else None
        if self._shop.settings.database_url is None or self._host_has_data():
            return None
        with self._lock:
            if not self._may_reuse_database():
                self.close()
            try:
                return self._probe_database(self._open_database(), now)
            except Exception:  # noqa: BLE001 - the connection may have been lost since the last tick
                self.close()
                return self._probe_database(self._open_database(), now)

    def close(self) -> None:
        """Close the connection; the next probe opens another."""
        self._database = None
        if self._closer is not None:
            self._closer()

    def _may_reuse_database(self) -> bool:
        """Say whether the open database is current: a SQLite file may be replaced, and tables may be created later."""
        if self._database is None:
            return True
        return self._database.dialect != "sqlite" and self._timer() - self._opened_at < KEPT_SECONDS

    def _host_has_data(self) -> bool:
        return any(getattr(self._host, name) is not None for name in COMPONENTS if name not in _WITHOUT_DATA)

    def _open_database(self) -> Database:
        if self._database is None:
            self._database = open_shop_database(self._shop)
            self._opened_at = self._timer()
            # Dagster does not close a schedule: its connection ends with the schedule, or with the process.
            self._closer = weakref.finalize(self, self._database.close)
        return self._database

    def _probe_database(self, database: Database, now: Timestamp) -> PendingWork:
        backlog = DatabaseBacklog(database).read(due_selections(now, run_options_from(self._shop.settings)), now=now)
        pending = self._pending(backlog)
        if any(pending.due.values()) or "email_outbox" not in self._runnable:
            return pending
        upcoming = Documents(database, "ops").candidates(email.WAITING, after=None, limit=1)
        at = next((candidate.sorted_by for candidate in upcoming if candidate.sorted_by > now), None)
        return PendingWork(pending.due, at)

    def _pending(self, backlog: Backlog) -> PendingWork:
        return PendingWork({name: backlog.due[name].count for name in self._runnable if name in backlog.due})
