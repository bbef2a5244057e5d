"""Whether a tick of the schedule starts a run: it looks first, so that an idle shop fills no history."""

import threading
import time
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from mika_ops.assembly import configured_components, open_shop_database
from mika_ops.config.settings import Settings, run_options_from
from mika_ops.config.shop import Shop
from mika_ops.host.components import COMPONENTS
from mika_ops.host.lazy import resolve_component
from mika_ops.ports.backlog import Backlog, BacklogReader
from mika_ops.redaction import describe_error
from mika_ops.rules import email
from mika_ops.store.backlog import DatabaseBacklog
from mika_ops.store.database import Database
from mika_ops.store.documents import Documents
from mika_ops.subtasks.registry import SUBTASKS, due_selections
from mika_ops.subtasks.subtask import can_run
from mika_ops.timestamps import Timestamp, to_datetime

_NEVER: Final = "9999-12-31T23:59:59.999Z"

KEPT_SECONDS: Final = 600.0
"""How long a connection is kept before what the database has is looked at anew."""

_NOT_THE_SHOPS_DATA: Final = frozenset({"backlog", "admin_api"})
"""The pieces that a host may supply without the database's backlog becoming somebody else's."""


@dataclass(frozen=True)
class RecentRuns:
    """What is known of a job's runs: those under way, by id with their start; and how and when the last one ended."""

    under_way: Mapping[str, datetime] = field(default_factory=dict)
    ended_at: datetime | None = None
    ended_well: bool = False


@dataclass(frozen=True)
class PendingWork:
    """How much waits for each subtask that can run, and when the next email is due."""

    due: Mapping[str, int] = field(default_factory=dict)
    next_email_at: Timestamp | None = None


@dataclass(frozen=True)
class TickDecision:
    """Whether to run, and why; ``warning`` names runs that have been going for too long."""

    launch: bool
    why: str
    warning: str | None = None


def decide_tick(runs: RecentRuns, look: Callable[[], PendingWork | None], *, now: datetime, shop: Shop) -> TickDecision:
    """Decide whether a tick at ``now`` starts a run.

    ``look`` says what waits; ``None`` if that is unknown. If it raises, a run is started: it shows the error.
    """
    settings = shop.settings
    limit = timedelta(minutes=settings.long_run_minutes)
    stuck = {id_: since for id_, since in runs.under_way.items() if now - since >= limit}
    going = {id_: since for id_, since in runs.under_way.items() if id_ not in stuck}
    warning = None
    if stuck:
        sentence = ", ".join(f"{id_} ({_for(now - since)})" for id_, since in stuck.items())
        warning = (
            f"runs have been going for longer than {shop.names('long_run_minutes')} and are not waited for: {sentence}"
        )
    if going:
        id_, since = next(iter(going.items()))
        return TickDecision(False, f"run {id_} is still going, for {_for(now - since)}", warning)
    launch, why = _reason(runs, look, now, settings)
    return TickDecision(launch, why, warning)


def _reason(
    runs: RecentRuns, look: Callable[[], PendingWork | None], now: datetime, settings: Settings
) -> tuple[bool, str]:
    if settings.idle_ticks == "run":
        return True, "every tick runs"
    if runs.ended_at is None:
        return True, "no run has ended yet"
    if not runs.ended_well:
        return True, "the last run failed"
    if now - runs.ended_at >= timedelta(minutes=settings.heartbeat_minutes):
        return True, f"the last run ended {_for(now - runs.ended_at)} ago"
    try:
        waiting = look()
    except Exception as failure:  # noqa: BLE001 - a tick that fails alerts nobody; a run that fails does
        return True, f"the backlog cannot be read: {describe_error(failure)}"
    if waiting is None:
        return True, "what waits is known to the host alone"
    due = {name: count for name, count in waiting.due.items() if count}
    if due:
        return True, f"due: {', '.join(f'{name} {count}' for name, count in due.items())}"
    return False, f"nothing due{_next_email(waiting.next_email_at, now)}"


def _next_email(at: Timestamp | None, now: datetime) -> str:
    try:
        return "" if at is None else f"; next email due in {_for(to_datetime(at) - now)}"
    except ValueError:
        return ""  # one email with a time that is none must not keep the tick from saying the rest


def _for(time: timedelta) -> str:
    minutes = time / timedelta(minutes=1)
    return f"{round(minutes)} min" if minutes >= 1 else f"{round(time.total_seconds())} s"


class BacklogProbe:
    """Looks what waits, tick after tick, over a connection to Postgres that is kept; one that has died is replaced."""

    def __init__(self, shop: Shop, *, timer: Callable[[], float] = time.monotonic) -> None:
        """Open nothing yet."""
        self._shop = shop
        self._timer = timer
        self._opened_at = 0.0
        self._host = shop.supplied
        pieces = configured_components(shop)
        self._able = [
            subtask.name
            for subtask in SUBTASKS
            if can_run(subtask, pieces) and shop.settings.limits.get(subtask.name) != 0
        ]
        self._lock = threading.Lock()
        self._database: Database | None = None
        self._closer: weakref.finalize[..., BacklogProbe] | None = None

    def look(self, now: Timestamp) -> PendingWork | None:
        """Return what waits at ``now`` for the subtasks that can run, or ``None`` if only the host could say.

        Raises what the database raises, after one more try over a new connection.
        """
        if not self._able:
            return PendingWork()
        if self._host.backlog is not None:
            reader = resolve_component("Host(backlog)", BacklogReader, self._host.backlog)
            backlog = reader.read(due_selections(now, run_options_from(self._shop.settings)), now=now)
            return self._waiting(backlog) if backlog.due.keys() >= set(self._able) else None
        if self._shop.settings.database_url is None or self._has_data_of_its_own():
            return None
        with self._lock:
            if not self._may_be_kept():
                self.close()
            try:
                return self._look_over(self._opened(), now)
            except Exception:  # noqa: BLE001 - the connection may have died since the last tick
                self.close()
                return self._look_over(self._opened(), now)

    def close(self) -> None:
        """Close the connection; the next look opens it again."""
        self._database = None
        if self._closer is not None:
            self._closer()

    def _may_be_kept(self) -> bool:
        """Say whether the open database is still the shop's: a SQLite file may have been replaced, tables been made."""
        if self._database is None:
            return True
        return self._database.dialect != "sqlite" and self._timer() - self._opened_at < KEPT_SECONDS

    def _has_data_of_its_own(self) -> bool:
        return any(getattr(self._host, name) is not None for name in COMPONENTS if name not in _NOT_THE_SHOPS_DATA)

    def _opened(self) -> Database:
        if self._database is None:
            self._database = open_shop_database(self._shop)
            self._opened_at = self._timer()
            # Nobody closes a schedule: its connection ends with it, or with the process.
            self._closer = weakref.finalize(self, self._database.close)
        return self._database

    def _look_over(self, database: Database, now: Timestamp) -> PendingWork:
        backlog = DatabaseBacklog(database).read(due_selections(now, run_options_from(self._shop.settings)), now=now)
        waiting = self._waiting(backlog)
        if any(waiting.due.values()) or "email_outbox" not in self._able:
            return waiting
        upcoming = Documents(database, "ops").candidates(email.due(_NEVER), after=None, limit=1)
        at = next((candidate.sorted_by for candidate in upcoming if candidate.sorted_by > now), None)
        return PendingWork(waiting.due, at)

    def _waiting(self, backlog: Backlog) -> PendingWork:
        return PendingWork({name: backlog.due[name].count for name in self._able if name in backlog.due})
