"""The alert sensor at work, for tests: a pager that takes what it delivers, and a clock that the test moves."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import dagster as dg

from mika_ops.clock import utc_now
from mika_ops.config.loading import isolated_settings
from mika_ops.config.settings import Settings
from mika_ops.config.shop import Shop
from mika_ops.host.host import Host
from mika_ops.orchestration.alerts.sensors import alert_sensor
from mika_ops.orchestration.definitions import build_definitions
from mika_ops.ports.alerts import Alert
from mika_ops_tests.orchestration.fake_host import run_job, whole_host


@dataclass
class Pager:
    """Accepts alerts, except those that contain the word ``refuses``."""

    refuses: str | None = None
    sent: list[Alert] = field(default_factory=list)

    def send(self, alert: Alert) -> None:
        if self.refuses is not None and self.refuses in alert.sentence:
            raise ConnectionError("the pager of bob@example.test does not answer")
        self.sent.append(alert)

    @property
    def notified(self) -> list[tuple[str, str]]:
        return [(alert.kind, alert.incident) for alert in self.sent]


class Alerts:
    """The alert sensor at work on an instance, tick by tick, by a clock that the test moves."""

    def __init__(self, instance: dg.DagsterInstance, pager: Pager | None = None, **settings: Any) -> None:
        self.instance = instance
        self.pager = pager or Pager()
        self.cursor: str | None = None
        self.reads = 0
        self.later = timedelta(0)
        self.settings = isolated_settings(**settings)
        self.sensor = alert_sensor(
            Shop(self.settings, supplied=Host(alert_sink=self.pager)),
            build_definitions(settings=self.settings).resolve_job_def("mika_maintenance"),
            now=lambda: utc_now() + self.later,
        )
        self.tick()

    def run(self, host: Host | None = None, settings: Settings | None = None, **options: Any) -> str:
        return run_job(host or whole_host(), settings=settings, instance=self.instance, **options).id

    def tick(self, *, after: timedelta = timedelta(0)) -> list[str]:
        """Evaluate the sensor once, some time later; return the sentences of the new alerts."""
        self.later += after
        before = len(self.pager.sent)
        context = dg.build_sensor_context(instance=self.instance, cursor=self.cursor)
        data = self.sensor.evaluate_tick(context)
        self.cursor = data.cursor
        self.said = str(data.skip_message)
        return [alert.sentence for alert in self.pager.sent[before:]]
