"""The conformance suite of ``AlertSink``."""

from collections.abc import Sequence
from typing import Any, get_args

import pytest

from mika_ops.ports.alerts import Alert, AlertKind, AlertSink
from mika_ops_testing.builders import EARLIER
from mika_ops_testing.conformance.expectations import expect, expect_equal, expect_port, optional, required


def alert(kind: AlertKind = "opened") -> Alert:
    """Return an alert as a run sends it."""
    return Alert(
        job="mika_maintenance",
        run_id="0f3a",
        sentence="email_outbox failed: the disk is full",
        kind=kind,
        title="email_outbox failed",
        incident="email_outbox",
        subtask="email_outbox",
        first_seen=EARLIER,
        times=2,
        url="https://dagster.example/runs/0f3a",
    )


class AlertSinkConformance:
    """Holds an alert sink against its port.

    A host defines the fixture ``alert_sink`` and the method ``delivered``, which returns the texts that arrived. The
    fixture ``unreachable_alert_sink`` is optional: the same sink where nothing can be delivered.
    """

    @pytest.fixture
    def alert_sink(self) -> Any:
        """Return a sink that delivers alerts."""
        required("alert_sink", "an AlertSink that delivers alerts")

    @pytest.fixture
    def unreachable_alert_sink(self) -> Any:
        """Return a sink that cannot deliver anything."""
        optional("unreachable_alert_sink", "your sink, its receiver out of reach")

    def delivered(self, alert_sink: AlertSink) -> Sequence[str]:
        """Return the texts that people got, in order."""
        raise NotImplementedError("define delivered(self, alert_sink): it returns the texts that people got")

    def test_it_has_the_methods_of_the_port(self, alert_sink: AlertSink) -> None:
        """The port: `send` exists."""
        expect_port(alert_sink, AlertSink)

    @pytest.mark.parametrize("case", get_args(AlertKind))
    def test_an_alert_of_every_kind_is_delivered(self, case: AlertKind, alert_sink: AlertSink) -> None:
        """`Alert.sentence`: the complete message."""
        alert_sink.send(alert(case))
        texts = self.delivered(alert_sink)
        advice = f"deliver an alert of kind {case}, with its whole sentence"
        expect_equal([alert(case).sentence in text for text in texts], [True], advice)

    def test_an_alert_without_its_optional_parts_is_delivered(self, alert_sink: AlertSink) -> None:
        """`Alert`: all but the job, the run and the sentence may be missing."""
        alert_sink.send(Alert(job="mika_maintenance", run_id="", sentence="no run has finished for two hours"))
        found = ["no run has finished for two hours" in text for text in self.delivered(alert_sink)]
        expect_equal(found, [True], "deliver an alert that has a job and a sentence only")

    def test_an_alert_that_is_sent_again_is_delivered_again(self, alert_sink: AlertSink) -> None:
        """`send`: delivers each alert; which to send again is decided before."""
        for kind in ("opened", "reminder", "recovered"):
            alert_sink.send(alert(kind))
        expect_equal(len(self.delivered(alert_sink)), 3, "deliver every alert: do not suppress those of one incident")

    def test_an_alert_that_cannot_be_delivered_raises(self, unreachable_alert_sink: AlertSink) -> None:
        """`send`: if it raises, the next tick delivers the alert again."""
        try:
            unreachable_alert_sink.send(alert())
        except Exception:  # noqa: BLE001 - any exception fits the port
            return
        expect(False, "send must raise if an alert cannot be delivered: it is lost otherwise")
