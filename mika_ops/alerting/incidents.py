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
"""The incident of runs that fail as a whole, by no subtask's fault: no subtask has this name."""


NO_RUNS: Final = "no_runs"
"""The incident of no finished run at all."""


LONGEST_COOLDOWN: Final = timedelta(days=1)


SKIP_ACCEPTED_AFTER: Final = timedelta(days=7)
"""A subtask that has been skipped for so long is skipped on purpose: its incident ends without a notification."""


FLAPS_BEFORE_DAMPING: Final = 2
"""How often an incident that comes back within the cooldown is notified at once; after that, once a cooldown."""


class IncidentKind(StrEnum):
    """What an incident is about."""

    RUN_FAILED = "run"
    SUBTASK_FAILED = "failed"
    SUBTASK_SKIPPED = "skipped"
    CHECK_FAILED = "check"
    NO_RUNS = "no_runs"


@dataclass(frozen=True)
class FinishedRun:
    """What one finished run says: how its subtasks ended, and whether it ``failed``.

    ``blamed``: the subtasks whose failure failed the run; ``failing_checks``: those whose failing is an error,
    ``passing_checks``: all others. A subtask that the run left out, or a check without a result, is in none
    of the sets. A ``canceled`` run says only that runs do finish.
    """

    run_id: str
    at: datetime
    failed: bool = False
    canceled: bool = False
    failed_subtasks: frozenset[str] = frozenset()
    skipped_subtasks: frozenset[str] = frozenset()
    completed_subtasks: frozenset[str] = frozenset()
    blamed: frozenset[str] = frozenset()
    failing_checks: frozenset[str] = frozenset()
    passing_checks: frozenset[str] = frozenset()


class ChannelState(BaseModel):
    """What one channel knows of an incident: how many messages since it opened, the last when, and whether its end."""

    model_config = ConfigDict(frozen=True)

    sent: int = 0
    at: datetime | None = None
    closed: bool = False


class Incident(BaseModel):
    """Something that is wrong, or was until ``ended``; it is kept for a cooldown, for it may come back.

    ``times``: the runs that showed it since ``first_seen``; ``run_id``: the newest of them, ``failed_run`` whether that
    run failed; ``ended_by``: the run that showed its end; ``kind_since``: since when the trouble is of this kind;
    ``reopened``: how often it came back; ``tracks``: by channel.
    """

    model_config = ConfigDict(frozen=True)

    trouble: IncidentKind
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
    """What is known of a job. ``heard``: when a run last finished, or the watch began; ``ran``: what used to run."""

    model_config = ConfigDict(frozen=True)

    heard: datetime
    ran: tuple[str, ...] = ()
    incidents: dict[str, Incident] = {}


@dataclass(frozen=True)
class Notification:
    """What one channel is to be notified of now.

    ``key``: the name of the subtask or the check, ``run`` or ``no_runs``.
    """

    kind: AlertKind
    key: str
    incident: Incident
    channel: int

    @property
    def run_id(self) -> str | None:
        """The run to look at: the newest that showed the trouble, or the one that showed its end."""
        return self.incident.ended_by if self.kind == "recovered" else self.incident.run_id


OverdueAt = Callable[[datetime], datetime]
"""Says until when a run must have finished, given when the last one did."""


def apply_runs(
    state: MonitorState,
    observations: Iterable[FinishedRun],
    *,
    now: datetime,
    cooldown: timedelta,
    channels: int = 1,
    overdue_at: OverdueAt | None = None,
) -> MonitorState:
    """Return the state after some finished runs, oldest first, and after the time that has passed.

    ``channels``: how many there are. ``overdue_at``: ``None`` where no runs are expected.
    """
    ran, heard = set(state.ran), state.heard
    incidents = {key: _for_channels(incident, channels) for key, incident in state.incidents.items()}
    for seen in observations:
        heard = max(heard, seen.at)
        _end(incidents, NO_RUNS, seen.at, seen.run_id, cooldown)
        if not seen.canceled:
            _apply_run(seen, ran, incidents, cooldown, channels)
    if overdue_at is not None and now >= overdue_at(heard) and _is_over(incidents.get(NO_RUNS)):
        _open(incidents, NO_RUNS, IncidentKind.NO_RUNS, FinishedRun("", heard), cooldown, channels)
    for key, incident in list(incidents.items()):
        accepted = incident.trouble is IncidentKind.SUBTASK_SKIPPED and now - incident.kind_since >= SKIP_ACCEPTED_AFTER
        if accepted:
            ran.discard(key)
        if accepted or _is_expired(incident, now, cooldown):
            del incidents[key]
    return state.model_copy(update={"heard": heard, "ran": tuple(sorted(ran)), "incidents": incidents})


def without_no_runs(state: MonitorState) -> MonitorState:
    """Return the state without the `no_runs` incident: where no schedule is registered, no runs are expected."""
    return state.model_copy(
        update={"incidents": {key: incident for key, incident in state.incidents.items() if key != NO_RUNS}}
    )


def due_notifications(state: MonitorState, *, now: datetime, cooldown: timedelta) -> Iterator[Notification]:
    """Yield the notifications that each channel is due at ``now``, the opening of an incident before its end."""
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


def mark_notified(state: MonitorState, message: Notification, *, now: datetime) -> MonitorState:
    """Return the state after a message was delivered."""
    incident = state.incidents[message.key]
    tracks = list(incident.tracks)
    if message.kind == "recovered":
        tracks[message.channel] = ChannelState(at=now, closed=True)
    else:
        tracks[message.channel] = ChannelState(sent=tracks[message.channel].sent + 1, at=now)
    changed = incident.model_copy(update={"tracks": tuple(tracks)})
    return state.model_copy(update={"incidents": state.incidents | {message.key: changed}})


def _apply_run(
    seen: FinishedRun, ran: set[str], incidents: dict[str, Incident], cooldown: timedelta, channels: int
) -> None:
    if seen.failed and not seen.failed_subtasks & seen.blamed:
        _open(incidents, RUN, IncidentKind.RUN_FAILED, seen, cooldown, channels)
    else:
        _end(incidents, RUN, seen.at, seen.run_id, cooldown)
    for name in sorted(seen.failed_subtasks):
        _open(incidents, name, IncidentKind.SUBTASK_FAILED, seen, cooldown, channels)
    for name in sorted(seen.skipped_subtasks & ran):
        _open(incidents, name, IncidentKind.SUBTASK_SKIPPED, seen, cooldown, channels)
    for name in sorted(seen.failing_checks):
        _open(incidents, name, IncidentKind.CHECK_FAILED, seen, cooldown, channels)
    for name in sorted(seen.completed_subtasks | seen.passing_checks):
        _end(incidents, name, seen.at, seen.run_id, cooldown)
    ran |= seen.failed_subtasks | seen.completed_subtasks


def _open(
    incidents: dict[str, Incident],
    key: str,
    trouble: IncidentKind,
    seen: FinishedRun,
    cooldown: timedelta,
    channels: int,
) -> None:
    """Open an incident, or have one go on: a known one, or one that comes back before it is forgotten."""
    newest: dict[str, Any] = {
        "trouble": trouble,
        "last_seen": seen.at,
        "run_id": seen.run_id or None,
        "failed_run": seen.failed,
    }
    before = incidents.get(key)
    if before is None or _is_expired(before, seen.at, cooldown):
        tracks = (ChannelState(),) * channels
        incidents[key] = Incident(first_seen=seen.at, kind_since=seen.at, tracks=tracks, **newest)
        return
    newest["times"] = before.times + 1
    if before.trouble is not trouble:
        newest["kind_since"] = seen.at
    if before.ended is not None:
        newest |= {
            "ended": None,
            "ended_by": None,
            "reopened": before.reopened + 1,
            "kind_since": seen.at,
            "tracks": tuple(ChannelState(at=track.at) if track.closed else track for track in before.tracks),
        }
    incidents[key] = before.model_copy(update=newest)


def _end(incidents: dict[str, Incident], key: str, at: datetime, run_id: str, cooldown: timedelta) -> None:
    incident = incidents.get(key)
    if incident is None or incident.ended is not None:
        return
    # What was held back and has ended by itself needs no notification.
    tracks = tuple(
        ChannelState(at=track.at, closed=True) if _is_damped(incident, track, at, cooldown) else track
        for track in incident.tracks
    )
    incidents[key] = incident.model_copy(update={"ended": at, "ended_by": run_id, "tracks": tracks})


def _is_over(incident: Incident | None) -> bool:
    return incident is None or incident.ended is not None


def _is_expired(incident: Incident, now: datetime, cooldown: timedelta) -> bool:
    return (
        incident.ended is not None
        and now >= incident.ended + cooldown
        and all(track.closed for track in incident.tracks)
    )


def _is_damped(incident: Incident, track: ChannelState, now: datetime, cooldown: timedelta) -> bool:
    """Say whether a channel is spared for now: the incident comes and goes, and the channel has just heard of it."""
    flaps = incident.reopened > FLAPS_BEFORE_DAMPING and track.sent == 0
    return flaps and track.at is not None and now < track.at + cooldown


def _wait(cooldown: timedelta, sent: int) -> timedelta:
    """Return the wait after so many messages: the cooldown, doubled by each, up to a day or to itself if longer."""
    doublings = min(sent - 1, 20)
    return max(cooldown, min(cooldown * (1 << doublings), LONGEST_COOLDOWN))


def _for_channels(incident: Incident, channels: int) -> Incident:
    """Return the incident with a track for each channel; a new channel need not hear of what is over already."""
    if len(incident.tracks) == channels:
        return incident
    new = (ChannelState(closed=incident.ended is not None),) * (channels - len(incident.tracks))
    return incident.model_copy(update={"tracks": (incident.tracks + new)[:channels]})
