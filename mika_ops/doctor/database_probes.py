"""The probes of a shop's database: what maintenance reads, writes and looks up by. They change nothing.

To add one, write a function that yields its results, and add it to ``DATABASE_PROBES``.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from sqlalchemy import Table

from mika_ops.doctor.probe import NEEDS_DATABASE, Probe, ProbeResult
from mika_ops.store.database import Database
from mika_ops.store.introspection import PRIVILEGES, document_indexes_of, own_tables, read_problems, write_problems
from mika_ops.store.migrate import missing_indexes, wrong_version
from mika_ops.store.schema.own import acp_sessions, own
from mika_ops.store.schema.site import ephemeral_records, plugin_storage, stock_events, stock_items

_BY_TABLE: Final[Mapping[str, frozenset[str]]] = {
    plugin_storage.name: frozenset({"ops", "account", "ledger", "session", "email_outbox", "backlog"}),
    stock_items.name: frozenset({"stock", "reservation_release"}),
    stock_events.name: frozenset({"stock", "reservation_release", "backlog"}),
    ephemeral_records.name: frozenset({"ephemeral", "ephemeral_purge", "backlog"}),
    **dict.fromkeys(own.tables, frozenset({"acp_sessions"})),
}
"""The components that need each table."""


def _own_tables(database: Database) -> Iterator[ProbeResult]:
    present, disables = own_tables(database), _BY_TABLE[acp_sessions.name]
    missing = ", ".join(name for name in own.tables if name not in present)
    if acp_sessions.name not in present:
        message = f"no {missing}: for a site that stores its ACP sessions here, `mika-ops db prepare` creates them"
        yield ProbeResult("ACP tables", "not configured", message, disables=disables)
    elif (wrong := wrong_version(database)) is not None:
        yield ProbeResult("ACP tables", "broken", wrong, disables=disables)
    elif missing:
        yield ProbeResult("ACP tables", "broken", f"no {missing}: `mika-ops db prepare` creates it", disables=disables)
    else:
        yield ProbeResult("ACP tables", "ok", f"{', '.join(own.tables)} exist")


def _reading(database: Database) -> Iterator[ProbeResult]:
    tables = _tables_present(database)
    yield _table_result("reading", read_problems(database, tables), f"{len(tables)} tables can be read")


def _writing(database: Database) -> Iterator[ProbeResult]:
    tables = _tables_present(database)
    yield _table_result(
        "writing", write_problems(database, tables), f"{len(tables)} tables can be written; nothing was written"
    )


def _tables_present(database: Database) -> list[Table]:
    present = own_tables(database)
    return [table for table in PRIVILEGES if table.name not in own.tables or table.name in present]


def _table_result(name: str, problems: Mapping[str, str], ok: str) -> ProbeResult:
    if not problems:
        return ProbeResult(name, "ok", ok)
    message = "; ".join(f"{table}: {problem}" for table, problem in problems.items())
    return ProbeResult(name, "broken", message, disables=frozenset().union(*(_BY_TABLE[table] for table in problems)))


def _indexes(database: Database) -> Iterator[ProbeResult]:
    indexes = document_indexes_of(database)
    found = f"{indexes.found} expression indexes of documents"
    if not indexes.unserved:
        missing = missing_indexes(database)
        advice = (
            f"; {len(missing)} indexes of mika-ops on unfinished documents do not exist: `mika-ops db prepare` creates "
            "them, and a query of the backlog then costs the same however many documents are finished"
        )
        yield ProbeResult("indexes", "ok", f"{found}; the lookups of maintenance use them{advice if missing else ''}")
        return
    message = (
        f"{found}, and none to look up {'; '.join(indexes.unserved)}: runs are correct, but slow in a large shop; "
        "`mika-ops db prepare` creates the missing indexes by these statements"
    )
    yield ProbeResult("indexes", "warning", message, indexes.statements)


DATABASE_PROBES: Final[tuple[Probe[Database], ...]] = (
    Probe("ACP tables", _BY_TABLE[acp_sessions.name], _own_tables),
    Probe("reading", NEEDS_DATABASE, _reading),
    Probe("writing", NEEDS_DATABASE, _writing),
    Probe("indexes", frozenset(), _indexes),
)
"""The probes of an open database, in the order of the report."""
