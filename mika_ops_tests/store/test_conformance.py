"""The store fits the ports: the suites that hosts use, on both databases."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest

from mika_ops.documents.document import Document
from mika_ops.documents.repository import DocumentRepository
from mika_ops.store.acp_sessions import AcpSessionStore
from mika_ops.store.backlog import DatabaseBacklog
from mika_ops.store.database import Database
from mika_ops.store.documents import Documents
from mika_ops.store.ephemeral import EphemeralRows
from mika_ops.store.opening import open_database
from mika_ops.store.schema.site import ephemeral_records, stock_events, stock_items
from mika_ops.store.stock import StockRows
from mika_ops_testing import builders
from mika_ops_testing.builders import put, put_rows, rows_of
from mika_ops_testing.conformance import (
    AcpSessionCleanupConformance,
    BacklogReaderConformance,
    DocumentRepositoryConformance,
    EphemeralRepositoryConformance,
    EphemeralRow,
    Reservation,
    ReservationReleaseConformance,
    ShopData,
    StockRepositoryConformance,
)


class TestDocuments(DocumentRepositoryConformance):
    theirs: Database

    @pytest.fixture
    def make_repository(self, database: Database, lasting_url: str) -> Iterator[Callable[..., DocumentRepository]]:
        def make(*documents: Document) -> Documents:
            if documents:
                put(database, "ops", *documents)
            return Documents(database, "ops")

        with open_database(lasting_url) as self.theirs:
            yield make

    def another_writer(self, repository: DocumentRepository) -> DocumentRepository:
        return Documents(self.theirs, "ops")


def put_ephemeral(database: Database, rows: Sequence[EphemeralRow]) -> None:
    if rows:
        columns = [
            builders.ephemeral(row.key, kind=row.kind, subject_hash=row.subject, expires_at=row.expires_at)
            for row in rows
        ]
        put_rows(database, ephemeral_records, *columns)


def put_reservations(database: Database, reservations: Sequence[Reservation]) -> None:
    if reservations:
        columns = [
            builders.reservation(
                each.id,
                stock_item_id=each.item,
                quantity_delta=each.quantity,
                expires_at=each.expires_at,
                customer_id=each.customer_id,
            )
            for each in reservations
        ]
        put_rows(database, stock_events, *columns)


class StockInTheDatabase:
    @pytest.fixture
    def make_stock(self, database: Database) -> Callable[[Mapping[str, int], Sequence[Reservation]], StockRows]:
        def make(reserved: Mapping[str, int], reservations: Sequence[Reservation]) -> StockRows:
            if reserved:
                items = [builders.stock_item(id_, quantity_reserved=quantity) for id_, quantity in reserved.items()]
                put_rows(database, stock_items, *items)
            put_reservations(database, reservations)
            return StockRows(database)

        return make

    def reserved(self, stock: Any) -> Mapping[str, int]:
        return {id_: row["quantity_reserved"] for id_, row in rows_of(stock.database, stock_items).items()}


class TestReservationRelease(StockInTheDatabase, ReservationReleaseConformance):
    pass


class TestStockRepository(StockInTheDatabase, StockRepositoryConformance):
    pass


class TestEphemeralRows(EphemeralRepositoryConformance):
    @pytest.fixture
    def make_ephemeral(self, database: Database) -> Callable[..., EphemeralRows]:
        def make(*rows: EphemeralRow) -> EphemeralRows:
            put_ephemeral(database, rows)
            return EphemeralRows(database)

        return make


class TestAcpSessionStore(AcpSessionCleanupConformance):
    @pytest.fixture
    def make_sessions(self, database: Database) -> Callable[..., AcpSessionStore]:
        def make(*sessions: Document) -> AcpSessionStore:
            store = AcpSessionStore(database)
            store.put(sessions)
            return store

        return make


class TestBacklog(BacklogReaderConformance):
    @pytest.fixture
    def make_backlog(self, database: Database) -> Callable[[ShopData], DatabaseBacklog]:
        def make(shop: ShopData) -> DatabaseBacklog:
            if shop.ops:
                put(database, "ops", *shop.ops)
            put_reservations(database, shop.reservations)
            put_ephemeral(database, shop.ephemeral)
            AcpSessionStore(database).put(shop.acp_sessions)
            return DatabaseBacklog(database)

        return make
