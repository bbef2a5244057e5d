"""Tests that a host inherits, to hold its own components against the ports.

For each port that a host may supply, there is a class of tests. A host inherits it and says how its component is made::

    class TestMyDocuments(DocumentRepositoryConformance):
        @pytest.fixture
        def make_repository(self, tmp_path):
            return lambda *documents: MyDocuments(tmp_path / "shop.db", documents)

Each test's docstring names the method and the promise that it holds. A test that fails says what the host has to do.
Tests that need an optional fixture are skipped without it; ``pytest -rs`` shows which.
"""

from mika_ops_testing.conformance.acp_sessions import AcpSessionCleanupConformance
from mika_ops_testing.conformance.admin_api import AdminApiConformance
from mika_ops_testing.conformance.alert_sink import AlertSinkConformance
from mika_ops_testing.conformance.backlog import BacklogReaderConformance
from mika_ops_testing.conformance.documents import DocumentRepositoryConformance
from mika_ops_testing.conformance.email_composer import EmailComposerConformance
from mika_ops_testing.conformance.email_outbox import EmailOutboxConformance
from mika_ops_testing.conformance.email_sender import EmailSenderConformance
from mika_ops_testing.conformance.ephemeral import EphemeralPurgeConformance, EphemeralRepositoryConformance
from mika_ops_testing.conformance.shop_data import EphemeralRow, Reservation, ShopData
from mika_ops_testing.conformance.stock import ReservationReleaseConformance, StockRepositoryConformance

__all__ = [
    "AcpSessionCleanupConformance",
    "AdminApiConformance",
    "AlertSinkConformance",
    "BacklogReaderConformance",
    "DocumentRepositoryConformance",
    "EmailComposerConformance",
    "EmailOutboxConformance",
    "EmailSenderConformance",
    "EphemeralPurgeConformance",
    "EphemeralRepositoryConformance",
    "EphemeralRow",
    "Reservation",
    "ReservationReleaseConformance",
    "ShopData",
    "StockRepositoryConformance",
]
