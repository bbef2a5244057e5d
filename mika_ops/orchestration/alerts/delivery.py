"""The delivery of alerts in one tick of a sensor."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import dagster as dg

from mika_ops.alerting.incidents import MonitorState, Notification, mark_notified
from mika_ops.alerting.messages import alert_of
from mika_ops.orchestration.alerts.causes import cause_of
from mika_ops.ports.alerts import AlertSink
from mika_ops.redaction import describe_error

DELIVERY_SECONDS: Final = 30.0
"""How long a tick starts deliveries. Dagster ends a tick after a minute, and its cursor is then lost."""


@dataclass
class AlertDelivery:
    """Delivers the notifications about one job, and records which were delivered and which failed.

    ``state``: the state of the incidents, which each delivery changes; ``failed``: the reason by incident and channel.
    """

    job: str
    sinks: Sequence[AlertSink]
    instance: dg.DagsterInstance
    state: MonitorState
    dagster_url: str | None
    monotonic: Callable[[], float]
    delivered: int = 0
    failed: dict[tuple[str, int], str] = field(default_factory=dict)
    _causes: dict[tuple[str | None, str], str | None] = field(default_factory=dict)

    def deliver(self, notifications: Sequence[Notification], now: datetime) -> None:
        """Deliver notifications until the time is up; those to a channel that has failed in this tick come last."""
        until = self.monotonic() + DELIVERY_SECONDS
        later = []
        broken: set[int] = set()
        for notification in notifications:
            if notification.channel in broken:
                later.append(notification)
            elif not self._deliver_one(notification, now, until):
                broken.add(notification.channel)
        for notification in later:
            self._deliver_one(notification, now, until)

    def failure_reasons(self) -> str:
        """Return the incidents that could not be delivered, and each reason once."""
        keys = ", ".join(dict.fromkeys(key for key, _ in self.failed))
        return f"{keys} ({'; '.join(dict.fromkeys(self.failed.values()))})"

    def failed_in(self, state: MonitorState) -> bool:
        """Say whether a state holds all incidents that could not be delivered: a tick from that state retries them."""
        return all(
            key in state.incidents
            and channel < len(state.incidents[key].tracks)
            and not state.incidents[key].tracks[channel].closed
            for key, channel in self.failed
        )

    def _deliver_one(self, notification: Notification, now: datetime, until: float) -> bool:
        """Deliver a notification. If the opening of its incident could not be delivered, it waits as well."""
        place = notification.key, notification.channel
        if place in self.failed:
            return False
        if self.monotonic() >= until:
            self.failed[place] = "no time was left"
            return False
        alert = alert_of(
            notification, job=self.job, cause=self._cause(notification), url=self._link(notification.run_id)
        )
        try:
            self.sinks[notification.channel].send(alert)
        except Exception as error:  # noqa: BLE001 - a host's sink may raise anything, and the other channels continue
            self.failed[place] = describe_error(error)
            return False
        self.state = mark_notified(self.state, notification, now=now)
        self.delivered += 1
        return True

    def _link(self, run_id: str | None) -> str | None:
        base = self.dagster_url
        return f"{base.rstrip('/')}/runs/{run_id}" if base is not None and run_id else None

    def _cause(self, notification: Notification) -> str | None:
        run_and_key = notification.run_id, notification.key
        if notification.kind == "recovered" or not notification.run_id:
            return None
        if run_and_key not in self._causes:
            try:
                self._causes[run_and_key] = cause_of(self.instance, notification.run_id, notification.key)
            except Exception:  # noqa: BLE001 - an alert without its cause is better than none
                self._causes[run_and_key] = None
        return self._causes[run_and_key]
