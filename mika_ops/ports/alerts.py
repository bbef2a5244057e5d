"""The port that delivers alerts."""

from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias, runtime_checkable

from mika_ops.timestamps import Timestamp

AlertKind: TypeAlias = Literal["opened", "reminder", "recovered", "test"]
"""Why an alert is sent: an incident opened, is still open, or has recovered; or an operator tests the delivery."""


@dataclass(frozen=True)
class Alert:
    """A message about a job for the operators. It holds ids and counts, no personal data.

    ``sentence`` is the complete message. ``run_id``: the newest run that showed the problem, empty if no run did.
    ``incident`` stays the same from the first alert to the recovery; at most one incident of each name is open.
    ``subtask``: the subtask concerned, if there is one. ``times``: the runs that showed the problem since
    ``first_seen``. ``url``: the run in Dagster's UI, if the address of the UI is set.
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
        """Deliver an alert. If it raises, the next tick shows the error and delivers the alert again."""
        ...
