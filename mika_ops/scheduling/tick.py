"""Whether a tick of the schedule starts a run: it queries the backlog first, so that an idle shop fills no history."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from mika_ops.config.settings import Settings
from mika_ops.config.shop import Shop
from mika_ops.redaction import describe_error
from mika_ops.scheduling.backlog_probe import PendingWork
from mika_ops.timestamps import Timestamp, to_datetime


@dataclass(frozen=True)
class RecentRuns:
    """The recent runs of a job: the start of each unfinished run by its id, and when and how the last one ended."""

    under_way: Mapping[str, datetime] = field(default_factory=dict)
    ended_at: datetime | None = None
    succeeded: bool = False


@dataclass(frozen=True)
class TickDecision:
    """Whether to start a run, and why; ``warning`` names runs that have been under way for too long."""

    run: bool
    reason: str
    warning: str | None = None


def decide_tick(
    runs: RecentRuns, probe: Callable[[], PendingWork | None], *, now: datetime, shop: Shop
) -> TickDecision:
    """Decide whether a tick at ``now`` starts a run.

    ``probe`` returns the pending work, or ``None`` if it is unknown. If it raises, a run starts and shows the error.
    """
    settings = shop.settings
    limit = timedelta(minutes=settings.long_run_minutes)
    stuck = {id_: since for id_, since in runs.under_way.items() if now - since >= limit}
    awaited = {id_: since for id_, since in runs.under_way.items() if id_ not in stuck}
    warning = None
    if stuck:
        ids = ", ".join(f"{id_} ({_for(now - since)})" for id_, since in stuck.items())
        warning = (
            f"runs have been under way for longer than {shop.names('long_run_minutes')} and are not waited for: {ids}"
        )
    if awaited:
        id_, since = next(iter(awaited.items()))
        return TickDecision(False, f"run {id_} has been under way for {_for(now - since)}", warning)
    run, reason = _run_and_reason(runs, probe, now, settings)
    return TickDecision(run, reason, warning)


def _run_and_reason(
    runs: RecentRuns, probe: Callable[[], PendingWork | None], now: datetime, settings: Settings
) -> tuple[bool, str]:
    if settings.idle_ticks == "run":
        return True, "every tick starts a run"
    if runs.ended_at is None:
        return True, "no run has ended yet"
    if not runs.succeeded:
        return True, "the last run failed"
    if now - runs.ended_at >= timedelta(minutes=settings.heartbeat_minutes):
        return True, f"the last run ended {_for(now - runs.ended_at)} ago"
    try:
        pending = probe()
    except Exception as failure:  # noqa: BLE001 - a failed tick alerts nobody, a failed run does
        return True, f"the backlog cannot be read: {describe_error(failure)}"
    if pending is None:
        return True, "only the host knows the backlog"
    due = {name: count for name, count in pending.due.items() if count}
    if due:
        return True, f"due: {', '.join(f'{name} {count}' for name, count in due.items())}"
    return False, f"nothing due{_next_email(pending.next_email_at, now)}"


def _next_email(at: Timestamp | None, now: datetime) -> str:
    try:
        return "" if at is None else f"; next email due in {_for(to_datetime(at) - now)}"
    except ValueError:
        return ""  # the decision does not depend on an email whose time is malformed


def _for(time: timedelta) -> str:
    minutes = time / timedelta(minutes=1)
    return f"{round(minutes)} min" if minutes >= 1 else f"{round(time.total_seconds())} s"
