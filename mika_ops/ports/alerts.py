"""The port that delivers alerts."""

from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias, runtime_checkable

from mika_ops.timestamps import Timestamp

AlertKind: TypeAlias = Literal["opened", "reminder", "recovered", "test"]
"""Why an alert is sent: something is wrong, still is, is over; or somebody tries whether alerts arrive."""


@dataclass(frozen=True)
class Alert:
    """Something that a person should know of a job. It holds ids and counts, no personal data.

    ``sentence`` says all of it. ``run_id``: the newest run that showed it, empty where no run did; ``incident`` is the
    same from its opening to its end, and one of each is open at a time; ``subtask``: which one, where it is about one;
    ``times``: the runs that showed it since ``first_seen``; ``url``: the run in Dagster's UI, where its address is set.
    """

    job: str
    run_id: str
    sentence: str
    kind: AlertKind = "opened"
    title: str = ""
    incident: str = ""
    subtask: str | None = None
    first_seen: Timestamp | None = None
    times: int = 1
    url: str | None = None


@runtime_checkable
class AlertSink(Protocol):
    """Delivers alerts to people."""

    def send(self, alert: Alert) -> None:
        """Deliver an alert. Where it raises, the alert is delivered again at the next tick, which shows the error."""
        ...
