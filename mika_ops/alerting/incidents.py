"""Incidents of a job over many runs, and when each channel is notified. Pure functions: no Dagster and no clock.

An incident is opened by a failed run, a failed subtask, a subtask that used to run and is skipped now, a failing check,
or by no run having finished for too long (a dead man's switch). A channel is notified when it opens, again after the
cooldown, which doubles each time up to a day, and when it is resolved. Each channel has a state of its own, so a broken
channel neither silences another nor loses a notification. The state holds names, times and run ids only.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

from mika_ops.ports.alerts import AlertKind

RUN: Final = "run"
"""The incident of runs that fail without a failed subtask as the cause. No subtask has this name."""


NO_RUNS: Final = "no_runs"
"""The incident that no run finishes."""


LONGEST_COOLDOWN: Final = timedelta(days=1)


SKIP_ACCEPTED_AFTER: Final = timedelta(days=7)
"""A subtask that has been skipped for so long is skipped on purpose: its incident ends without a notification."""


FLAPS_BEFORE_DAMPING: Final = 2
"""How often an incident that reopens within the cooldown is notified at once; after that, once for each cooldown."""


class IncidentKind(StrEnum):
    """What an incident is about."""

    RUN_FAILED = "run"
    SUBTASK_FAILED = "failed"
    SUBTASK_SKIPPED = "skipped"
    CHECK_FAILED = "check"
    NO_RUNS = "no_runs"


@dataclass(frozen=True)
class FinishedRun:
    """How one run and its subtasks ended.

    ``run_failing_subtasks``: the subtasks whose failure fails a run. ``failing_checks``: the failed checks that are
    errors; ``passing_checks``: all others. A subtask that was not chosen, or a check without a result, is in none of
    the sets. A ``canceled`` run shows only that runs finish.
    """

    run_id: str
    at: datetime
    failed: bool = False
    canceled: bool = False
    failed_subtasks: frozenset[str] = frozenset()
    skipped_subtasks: frozenset[str] = frozenset()
    completed_subtasks: frozenset[str] = frozenset()
    run_failing_subtasks: frozenset[str] = frozenset()
    failing_checks: frozenset[str] = frozenset()
    passing_checks: frozenset[str] = frozenset()


class ChannelState(BaseModel):
    """What one channel was sent of an incident: how many notifications since it opened, the last one when, its end."""

    model_config = ConfigDict(frozen=True)

    sent: int = 0
    at: datetime | None = None
    closed: bool = False


class Incident(BaseModel):
    """A failure that lasts, or lasted until ``ended``. It is kept for a cooldown, because it may reopen.

    ``times``: how many runs showed it since ``first_seen``; ``run_id``: the newest of them, and ``failed_run`` whether
    that run failed; ``ended_by``: the run that showed its end; ``kind_since``: since when it is of this kind;
    ``reopened``: how often it reopened; ``tracks``: the state of each channel.
    """

    model_config = ConfigDict(frozen=True)

    kind: IncidentKind
    first_seen: datetime
    last_seen: datetime
    kind_since: datetime
    times: int = 1
    run_id: str | None = None
    failed_run: bool = False
    ended: datetime | None = None
    ended_by: str | None = None
    reopened: int = 0
    tracks: tuple[ChannelState, ...] = ()


class MonitorState(BaseModel):
    """The state of a job.

    ``last_finished_at``: when a run last finished, or when monitoring began. ``seen_running``: the subtasks that have
    run, rather than being skipped.
    """

    model_config = ConfigDict(frozen=True)

    last_finished_at: datetime
    seen_running: tuple[str, ...] = ()
    incidents: dict[str, Incident] = {}


@dataclass(frozen=True)
class Notification:
    """A notification that is due on one channel.

    ``key``: the name of the subtask or the check, ``run`` or ``no_runs``.
    """

    kind: AlertKind
    key: str
    incident: Incident
    channel: int

    @property
    def run_id(self) -> str | None:
        """The run that the alert links to: the newest that showed the incident, or the one that showed its end."""
        return self.incident.ended_by if self.kind == "recovered" else self.incident.run_id


OverdueAt = Callable[[datetime], datetime]
"""Returns the time by which a run must have finished, given when the last one did."""


def apply_runs(
    state: MonitorState,
    runs: Iterable[FinishedRun],
    *,
    now: datetime,
    cooldown: timedelta,
    channels: int = 1,
    overdue_at: OverdueAt | None = None,
) -> MonitorState:
    """Return the state after these finished runs, oldest first, and after the time that has passed.

    ``channels``: how many there are. ``overdue_at``: ``None`` where no runs are expected.
    """
    seen_running, last_finished_at = set(state.seen_running), state.last_finished_at
    incidents = {key: _for_channels(incident, channels) for key, incident in state.incidents.items()}
    for run in runs:
        last_finished_at = max(last_finished_at, run.at)
        _end(incidents, NO_RUNS, run.at, run.run_id, cooldown)
        if not run.canceled:
            _apply_run(run, seen_running, incidents, cooldown, channels)
    if overdue_at is not None and now >= overdue_at(last_finished_at) and not _is_open(incidents.get(NO_RUNS)):
        _open(incidents, NO_RUNS, IncidentKind.NO_RUNS, FinishedRun("", last_finished_at), cooldown, channels)
    for key, incident in list(incidents.items()):
        accepted = incident.kind is IncidentKind.SUBTASK_SKIPPED and now - incident.kind_since >= SKIP_ACCEPTED_AFTER
        if accepted:
            seen_running.discard(key)
        if accepted or _is_expired(incident, now, cooldown):
            del incidents[key]
    return state.model_copy(
        update={
            "last_finished_at": last_finished_at,
            "seen_running": tuple(sorted(seen_running)),
            "incidents": incidents,
        }
    )


def without_no_runs(state: MonitorState) -> MonitorState:
    """Return the state without the `no_runs` incident: where no schedule is registered, no runs are expected."""
    return state.model_copy(
        update={"incidents": {key: incident for key, incident in state.incidents.items() if key != NO_RUNS}}
    )


def due_notifications(state: MonitorState, *, now: datetime, cooldown: timedelta) -> Iterator[Notification]:
    """Yield the notifications that are due on each channel at ``now``, the opening of an incident before its end."""
    for key, incident in state.incidents.items():
        for channel, track in enumerate(incident.tracks):
            if track.closed or _is_damped(incident, track, now, cooldown):
                continue
            if track.sent == 0:
                yield Notification("opened", key, incident, channel)
            elif incident.ended is None and track.at is not None and now >= track.at + _wait(cooldown, track.sent):
                yield Notification("reminder", key, incident, channel)
            if incident.ended is not None:
                yield Notification("recovered", key, incident, channel)


def mark_notified(state: MonitorState, notification: Notification, *, now: datetime) -> MonitorState:
    """Return the state after a notification was delivered."""
    incident = state.incidents[notification.key]
    tracks = list(incident.tracks)
    if notification.kind == "recovered":
        tracks[notification.channel] = ChannelState(at=now, closed=True)
    else:
        tracks[notification.channel] = ChannelState(sent=tracks[notification.channel].sent + 1, at=now)
    changed = incident.model_copy(update={"tracks": tuple(tracks)})
    return state.model_copy(update={"incidents": state.incidents | {notification.key: changed}})


def _apply_run(
    run: FinishedRun, seen_running: set[str], incidents: dict[str, Incident], cooldown: timedelta, channels: int
) -> None:
    if run.failed and not run.failed_subtasks & run.run_failing_subtasks:
        _open(incidents, RUN, IncidentKind.RUN_FAILED, run, cooldown, channels)
    else:
        _end(incidents, RUN, run.at, run.run_id, cooldown)
    for name in sorted(run.failed_subtasks):
        _open(incidents, name, IncidentKind.SUBTASK_FAILED, run, cooldown, channels)
    for name in sorted(run.skipped_subtasks & seen_running):
        _open(incidents, name, IncidentKind.SUBTASK_SKIPPED, run, cooldown, channels)
    for name in sorted(run.failing_checks):
        _open(incidents, name, IncidentKind.CHECK_FAILED, run, cooldown, channels)
    for name in sorted(run.completed_subtasks | run.passing_checks):
        _end(incidents, name, run.at, run.run_id, cooldown)
    seen_running |= run.failed_subtasks | run.completed_subtasks


def _open(
    incidents: dict[str, Incident],
    key: str,
    kind: IncidentKind,
    run: FinishedRun,
    cooldown: timedelta,
    channels: int,
) -> None:
    """Open an incident, continue one, or reopen one that ended and has not expired."""
    newest: dict[str, Any] = {
        "kind": kind,
        "last_seen": run.at,
        "run_id": run.run_id or None,
        "failed_run": run.failed,
    }
    before = incidents.get(key)
    if before is None or _is_expired(before, run.at, cooldown):
        tracks = (ChannelState(),) * channels
        incidents[key] = Incident(first_seen=run.at, kind_since=run.at, tracks=tracks, **newest)
        return
    newest["times"] = before.times + 1
    if before.kind is not kind:
        newest["kind_since"] = run.at
    if before.ended is not None:
        newest |= {
            "ended": None,
            "ended_by": None,
            "reopened": before.reopened + 1,
            "kind_since": run.at,
            "tracks": tuple(ChannelState(at=track.at) if track.closed else track for track in before.tracks),
        }
    incidents[key] = before.model_copy(update=newest)


def _end(incidents: dict[str, Incident], key: str, at: datetime, run_id: str, cooldown: timedelta) -> None:
    incident = incidents.get(key)
    if incident is None or incident.ended is not None:
        return
    # A damped incident that has ended needs no notification.
    tracks = tuple(
        ChannelState(at=track.at, closed=True) if _is_damped(incident, track, at, cooldown) else track
        for track in incident.tracks
    )
    incidents[key] = incident.model_copy(update={"ended": at, "ended_by": run_id, "tracks": tracks})


def _is_open(incident: Incident | None) -> bool:
    return incident is not None and incident.ended is None


def _is_expired(incident: Incident, now: datetime, cooldown: timedelta) -> bool:
    return (
        incident.ended is not None
        and now >= incident.ended + cooldown
        and all(track.closed for track in incident.tracks)
    )


def _is_damped(incident: Incident, track: ChannelState, now: datetime, cooldown: timedelta) -> bool:
    """Say whether a channel is not notified for now: the incident flaps, and was notified within the cooldown."""
    flaps = incident.reopened > FLAPS_BEFORE_DAMPING and track.sent == 0
    return flaps and track.at is not None and now < track.at + cooldown


def _wait(cooldown: timedelta, sent: int) -> timedelta:
    """Return the wait after so many notifications: the cooldown, doubled each time, up to a day or the cooldown."""
    doublings = min(sent - 1, 20)
    return max(cooldown, min(cooldown * (1 << doublings), LONGEST_COOLDOWN))


def _for_channels(incident: Incident, channels: int) -> Incident:
    """Return the incident with a state for each channel; a new channel is not notified of what has ended already."""
    if len(incident.tracks) == channels:
        return incident
    new = (ChannelState(closed=incident.ended is not None),) * (channels - len(incident.tracks))
    return incident.model_copy(update={"tracks": (incident.tracks + new)[:channels]})
