"""Alerts in words: the title and the sentence of a notification."""

from datetime import UTC, datetime

from mika_ops.alerting.incidents import NO_RUNS, RUN, IncidentKind, Notification
from mika_ops.monitoring.checks import CHECKS
from mika_ops.ports.alerts import Alert
from mika_ops.timestamps import to_timestamp


def alert_of(message: Notification, *, job: str, cause: str | None = None, url: str | None = None) -> Alert:
    """Put a message into a sentence. ``cause``: what the newest run said, safe to be kept; ``url``: a link to it."""
    incident = message.incident
    worded = _recovered if message.kind == "recovered" else _troubled
    return Alert(
        job=job,
        run_id=message.run_id or "",
        sentence=worded(message, job, cause),
        kind=message.kind,
        title=f"{job}: {_title(message)}",
        incident=message.key,
        subtask=_subtask_of(message),
        first_seen=to_timestamp(incident.first_seen),
        times=incident.times,
        url=url,
    )


def _title(message: Notification) -> str:
    if message.kind == "recovered":
        if message.key == NO_RUNS:
            return "runs again"
        return f"{message.key} passes again" if _is_check(message) else f"{message.key} works again"
    title = {
        IncidentKind.RUN_FAILED: "run failed",
        IncidentKind.SUBTASK_FAILED: f"{message.key} failed",
        IncidentKind.SUBTASK_SKIPPED: f"{message.key} is skipped",
        IncidentKind.CHECK_FAILED: f"{message.key} fails",
        IncidentKind.NO_RUNS: "no run finishes",
    }[message.incident.trouble]
    return f"still: {title}" if message.kind == "reminder" else title


def _troubled(message: Notification, job: str, cause: str | None) -> str:
    incident, name = message.incident, message.key
    because = f": {cause}" if cause else ""
    match incident.trouble:
        case IncidentKind.RUN_FAILED:
            what = f"{job} run {incident.run_id} failed{because}"
        case IncidentKind.SUBTASK_FAILED if incident.failed_run:
            what = f"{job} run {incident.run_id} failed: {name}{because}"
        case IncidentKind.SUBTASK_FAILED:
            what = f"{job}: {name} failed in run {incident.run_id}{because}"
        case IncidentKind.SUBTASK_SKIPPED:
            what = f"{job}: {name} used to run, and was skipped in run {incident.run_id}{because}"
        case IncidentKind.CHECK_FAILED:
            what = f"{job}: the check {name} fails since run {incident.run_id}{because}"
        case IncidentKind.NO_RUNS:
            since = _minute(incident.last_seen)
            return (
                f"{'Still: ' if message.kind == 'reminder' else ''}{job}: no run has finished since {since}. "
                "See whether its schedule is on, Dagster's daemon lives, and no run waits in the queue."
            )
    ended = "" if incident.ended is None else f"; it was over at {_minute(incident.ended)}"
    how_often = "once" if incident.times == 1 else f"{incident.times} times"
    still = "Still: " if message.kind == "reminder" else ""
    return f"{still}{what} (first seen {_minute(incident.first_seen)}, {how_often}{ended})"


def _recovered(message: Notification, job: str, _cause: str | None) -> str:
    incident = message.incident
    assert incident.ended is not None  # noqa: S101 - what is over has an end
    if message.key == NO_RUNS:
        return (
            f"{job} runs again: run {incident.ended_by} finished at {_minute(incident.ended)}; "
            f"before, none had since {_minute(incident.last_seen)}"
        )
    what = job if message.key == RUN else f"{job}: {message.key}"
    how_often = "once" if incident.times == 1 else f"{incident.times} times"
    works = "passes" if _is_check(message) else "works"
    return (
        f"{what} {works} again since run {incident.ended_by} at {_minute(incident.ended)} "
        f"(first seen {_minute(incident.first_seen)}, {how_often})"
    )


def _is_check(message: Notification) -> bool:
    return message.incident.trouble is IncidentKind.CHECK_FAILED


def _subtask_of(message: Notification) -> str | None:
    if _is_check(message):
        return next((check.subtask for check in CHECKS if check.name == message.key), None)
    return None if message.key in (RUN, NO_RUNS) else message.key


def _minute(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
