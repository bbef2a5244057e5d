"""The text of alerts: the title and the sentence of a notification."""

from datetime import UTC, datetime

from mika_ops.alerting.incidents import NO_RUNS, RUN, IncidentKind, Notification
from mika_ops.monitoring.checks import CHECKS
from mika_ops.ports.alerts import Alert
from mika_ops.timestamps import to_timestamp


def alert_of(notification: Notification, *, job: str, cause: str | None = None, url: str | None = None) -> Alert:
    """Return a notification as an alert. ``cause``: of the newest run, redacted; ``url``: a link to that run."""
    incident = notification.incident
    sentence = _recovered if notification.kind == "recovered" else _failing
    return Alert(
        job=job,
        run_id=notification.run_id or "",
        sentence=sentence(notification, job, cause),
        kind=notification.kind,
        title=f"{job}: {_title(notification)}",
        incident=notification.key,
        subtask=_subtask_of(notification),
        first_seen=to_timestamp(incident.first_seen),
        times=incident.times,
        url=url,
    )


def _title(notification: Notification) -> str:
    if notification.kind == "recovered":
        if notification.key == NO_RUNS:
            return "runs again"
        return f"{notification.key} passes again" if _is_check(notification) else f"{notification.key} works again"
    title = {
        IncidentKind.RUN_FAILED: "run failed",
        IncidentKind.SUBTASK_FAILED: f"{notification.key} failed",
        IncidentKind.SUBTASK_SKIPPED: f"{notification.key} is skipped",
        IncidentKind.CHECK_FAILED: f"{notification.key} fails",
        IncidentKind.NO_RUNS: "no run finishes",
    }[notification.incident.kind]
    return f"still: {title}" if notification.kind == "reminder" else title


def _failing(notification: Notification, job: str, cause: str | None) -> str:
    incident, name = notification.incident, notification.key
    because = f": {cause}" if cause else ""
    match incident.kind:
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
                f"{'Still: ' if notification.kind == 'reminder' else ''}{job}: no run has finished since {since}. "
                "Check that its schedule is on, that Dagster's daemon runs, and that no run is stuck in the queue."
            )
    ended = "" if incident.ended is None else f"; ended at {_minute(incident.ended)}"
    how_often = "once" if incident.times == 1 else f"{incident.times} times"
    still = "Still: " if notification.kind == "reminder" else ""
    return f"{still}{what} (first seen {_minute(incident.first_seen)}, {how_often}{ended})"


def _recovered(notification: Notification, job: str, _cause: str | None) -> str:
    incident = notification.incident
    assert incident.ended is not None  # noqa: S101 - an incident recovers when it has ended
    if notification.key == NO_RUNS:
        return (
            f"{job} runs again: run {incident.ended_by} finished at {_minute(incident.ended)}; "
            f"before, none had since {_minute(incident.last_seen)}"
        )
    what = job if notification.key == RUN else f"{job}: {notification.key}"
    how_often = "once" if incident.times == 1 else f"{incident.times} times"
    works = "passes" if _is_check(notification) else "works"
    return (
        f"{what} {works} again since run {incident.ended_by} at {_minute(incident.ended)} "
        f"(first seen {_minute(incident.first_seen)}, {how_often})"
    )


def _is_check(notification: Notification) -> bool:
    return notification.incident.kind is IncidentKind.CHECK_FAILED


def _subtask_of(notification: Notification) -> str | None:
    if _is_check(notification):
        return next((check.subtask for check in CHECKS if check.name == notification.key), None)
    return None if notification.key in (RUN, NO_RUNS) else notification.key


def _minute(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
