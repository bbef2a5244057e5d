"""Floors: what bare SQL takes for the work of a subtask."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, text

from mika_ops_testing.builders import (
    NOW,
)

Floor = Callable[[Connection, Any], None]


def _of_ops(statement: str) -> Floor:
    """Return a floor of one statement on SQLite; Postgres takes longer for one than to be given the documents."""

    def floor(connection: Connection, after: list[tuple[str, str, str]]) -> None:
        if connection.dialect.name == "postgresql":
            as_left(connection, after)
            return
        connection.execute(text(f"{statement} AND plugin_id = 'mika' AND collection = 'ops'"), {"now": NOW})

    return floor


def stock_floor(connection: Connection, _after: Any) -> None:
    due = "kind = 'reservation' AND status = 'active' AND expires_at <= :now"
    connection.execute(
        text(
            "UPDATE mika_stock_items SET updated_at = :now, quantity_reserved = quantity_reserved - due.quantity FROM "
            f"(SELECT stock_item_id, sum(quantity_delta) AS quantity FROM mika_stock_events WHERE {due} "
            "GROUP BY stock_item_id) AS due WHERE mika_stock_items.id = due.stock_item_id"
        ),
        {"now": NOW},
    )
    connection.execute(
        text(f"UPDATE mika_stock_events SET status = 'expired', idempotency_key = NULL, updated_at = :now WHERE {due}"),
        {"now": NOW},
    )


def ephemeral_floor(connection: Connection, _after: Any) -> None:
    connection.execute(text("DELETE FROM mika_ephemeral_records WHERE expires_at <= :now"), {"now": NOW})


def as_left(connection: Connection, after: list[tuple[str, str, str]]) -> None:
    """Write each document once that the subtask changed, as it left it."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(
            "UPDATE _plugin_storage SET data = ? WHERE plugin_id = 'mika' AND collection = ? AND id = ?",
            [(data, collection, id_) for collection, id_, data in after],
        )
        return
    connection.execute(
        text(
            "UPDATE _plugin_storage AS s SET data = v.data FROM unnest(CAST(:collections AS text[]), "
            "CAST(:ids AS text[]), CAST(:data AS text[])) AS v(collection, id, data) "
            "WHERE s.plugin_id = 'mika' AND s.collection = v.collection AND s.id = v.id"
        ),
        {
            "collections": [collection for collection, _, _ in after],
            "ids": [id_ for _, id_, _ in after],
            "data": [data for _, _, data in after],
        },
    )
