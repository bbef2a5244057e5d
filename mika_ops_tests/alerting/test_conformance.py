"""The receivers of alerts fit the port: the suite that hosts use."""

from collections.abc import Iterator, Sequence

import pytest

from mika_ops.alerting.channels import AppriseAlerts, LoggedAlerts
from mika_ops.ports.alerts import AlertSink
from mika_ops_testing.conformance import AlertSinkConformance
from mika_ops_testing.smtp_server import free_port
from mika_ops_tests.alerting.test_channels import Endpoint, endpoint, over


class TestLoggedAlerts(AlertSinkConformance):
    log: pytest.LogCaptureFixture

    @pytest.fixture
    def alert_sink(self, caplog: pytest.LogCaptureFixture) -> LoggedAlerts:
        caplog.set_level("INFO", logger="mika_ops.alerts")
        self.log = caplog
        return LoggedAlerts()

    def delivered(self, alert_sink: AlertSink) -> Sequence[str]:
        return [record.getMessage() for record in self.log.records]


class TestAppriseAlerts(AlertSinkConformance):
    receiver: Endpoint

    @pytest.fixture
    def alert_sink(self) -> Iterator[AppriseAlerts]:
        with endpoint() as self.receiver:
            yield over(self.receiver.url)

    def delivered(self, alert_sink: AlertSink) -> Sequence[str]:
        return [posted["message"] for posted in self.receiver.posted]

    @pytest.fixture
    def unreachable_alert_sink(self) -> AppriseAlerts:
        return over(f"json://127.0.0.1:{free_port()}")
