"""Every component of the example fits its port: the suites that hosts use."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from mika_ops.documents.document import Document
from mika_ops.ports import AlertSink, ReservationRelease
from mika_ops_testing.builders import workflow
from mika_ops_testing.conformance import (
    AcpSessionCleanupConformance,
    AdminApiConformance,
    AlertSinkConformance,
    BacklogReaderConformance,
    EmailSenderConformance,
    EphemeralPurgeConformance,
    EphemeralRepositoryConformance,
    EphemeralRow,
    Reservation,
    ReservationReleaseConformance,
    ShopData,
    StockRepositoryConformance,
)


def fill_stock(shop: Any, reserved: Mapping[str, int], reservations: Sequence[Reservation]) -> None:
    shop.stock.reserved = dict(reserved)
    shop.stock.reservations = {
        each.id: shop.Reservation(each.item, each.quantity, each.expires_at, each.customer_id) for each in reservations
    }


def fill_rows(shop: Any, rows: Sequence[EphemeralRow]) -> None:
    """Keep rate limits apart from the other rows, as the example does."""
    shop.rate_limits.clear()
    shop.rate_limits.update({row.key: row.expires_at for row in rows if row.kind == "rate_limit"})
    shop.tokens.rows = {row.key: (row.subject, row.expires_at) for row in rows if row.kind != "rate_limit"}


class TestStock(StockRepositoryConformance):
    @pytest.fixture
    def make_stock(self, shop: Any) -> Callable[..., Any]:
        def make(reserved: Mapping[str, int], reservations: Sequence[Reservation]) -> Any:
            fill_stock(shop, reserved, reservations)
            return shop.host.stock

        return make

    def reserved(self, stock: Any) -> Mapping[str, int]:
        reserved: Mapping[str, int] = stock.reserved
        return reserved


class TestReservationRelease(ReservationReleaseConformance):
    shop: Any

    @pytest.fixture
    def make_stock(self, shop: Any) -> Callable[..., ReservationRelease]:
        def make(reserved: Mapping[str, int], reservations: Sequence[Reservation]) -> Any:
            self.shop = shop
            fill_stock(shop, reserved, reservations)
            return shop.host.reservation_release

        return make

    def reserved(self, stock: Any) -> Mapping[str, int]:
        reserved: Mapping[str, int] = self.shop.stock.reserved
        return reserved


class TestTokens(EphemeralRepositoryConformance):
    kinds = ("token",)

    @pytest.fixture
    def make_ephemeral(self, shop: Any) -> Callable[..., Any]:
        def make(*rows: EphemeralRow) -> Any:
            fill_rows(shop, rows)
            return shop.host.ephemeral

        return make


class TestEphemeralPurge(EphemeralPurgeConformance):
    kinds = ("token", "rate_limit")

    @pytest.fixture
    def make_ephemeral(self, shop: Any) -> Callable[..., Any]:
        def make(*rows: EphemeralRow) -> Any:
            fill_rows(shop, rows)
            return shop.host.ephemeral_purge

        return make


class TestAcpSessions(AcpSessionCleanupConformance):
    @pytest.fixture
    def make_sessions(self, shop: Any) -> Callable[..., Any]:
        def make(*sessions: Document) -> Any:
            shop.acp_sessions.clear()
            shop.acp_sessions.update({session["id"]: session for session in sessions})
            return shop.host.acp_sessions

        return make


class TestMail(EmailSenderConformance):
    @pytest.fixture
    def sender(self, shop: Any) -> Any:
        return shop.Mail()


class TestSite(AdminApiConformance):
    @pytest.fixture
    def admin_api(self, shop: Any) -> Any:
        shop.ops = shop.Documents(workflow(f"workflow_of_{self.webhook_id}"))
        return shop.Site()


class TestAlerts(AlertSinkConformance):
    shop: Any

    @pytest.fixture
    def alert_sink(self, shop: Any) -> AlertSink:
        self.shop = shop
        sink: AlertSink = shop.host.alert_sink
        return sink

    def delivered(self, alert_sink: AlertSink) -> Sequence[str]:
        return [alert.sentence for alert in self.shop.alerts]


class TestBacklog(BacklogReaderConformance):
    @pytest.fixture
    def make_backlog(self, shop: Any) -> Callable[[ShopData], Any]:
        def make(data: ShopData) -> Any:
            shop.ops = shop.Documents(*data.ops)
            fill_stock(shop, {"bowl": 1}, data.reservations)
            fill_rows(shop, data.ephemeral)
            shop.acp_sessions.clear()
            shop.acp_sessions.update({session["id"]: session for session in data.acp_sessions})
            return shop.host.backlog

        return make


def test_a_replay_that_is_repeated_changes_no_document(shop: Any) -> None:
    site = shop.Site()
    first = site.replay_webhook("webhook_due", idempotency_key="key")
    finished = shop.ops.read(["workflow_of_webhook_due"])

    assert site.replay_webhook("webhook_due", idempotency_key="key") == first
    assert shop.ops.read(["workflow_of_webhook_due"]) == finished


def test_a_release_that_is_repeated_releases_nothing(shop: Any) -> None:
    site = shop.Site()
    first = site.release_expired_reservations(now=shop.data.JUST_NOW, idempotency_key="key")
    bo = shop.stock.reservations["reservation_bo"]
    shop.stock.reservations["reservation_new"] = replace(bo, expires_at=shop.data.JUST_NOW)

    assert site.release_expired_reservations(now=shop.data.JUST_NOW, idempotency_key="key") == first
    assert shop.stock.reservations["reservation_new"].released_at is None
