"""Checks recorded maintenance runs of the reference against ours.

    python -m mika_ops_tests.acceptance.parity CASE_DIR [--database sqlite|postgres]

Each case is set up in a fresh site, run once with the limits it names, and compared as a whole: every document and row,
every count, every email. The format is described beside the cases. Exit code 1 where any case fails.
"""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import click
from sqlalchemy import Table, insert, select

from mika_ops.clock import Clock
from mika_ops.deadline import never_out_of_time
from mika_ops.email.content.renderer import Brand, EmailRenderer
from mika_ops.email.outbox.outbox import LeasedOutbox
from mika_ops.host.host import Host
from mika_ops.ports.admin_api import ReplayedWebhook
from mika_ops.ports.email import Envelope, SendResult
from mika_ops.ports.stock import ReleasedReservations
from mika_ops.store.acp_sessions import AcpSessionStore
from mika_ops.store.database import Database
from mika_ops.store.documents import Documents
from mika_ops.store.ephemeral import EphemeralRows
from mika_ops.store.opening import open_database
from mika_ops.store.schema.own import acp_sessions
from mika_ops.store.schema.site import ephemeral_records, plugin_storage, stock_events, stock_items
from mika_ops.store.stock import StockRows
from mika_ops.subtasks.outcome import Completed, Failed, Outcome, Skipped
from mika_ops.subtasks.registry import SUBTASKS
from mika_ops.subtasks.subtask import RunOptions, outcome_of
from mika_ops.timestamps import to_datetime
from mika_ops_testing.sites import DatabaseKind, sites
from mika_ops_tests.acceptance.deviations import DEVIATIONS

TABLES: Final[dict[str, Table]] = {
    "stock_items": stock_items,
    "stock_events": stock_events,
    "ephemeral_records": ephemeral_records,
}

REFERENCE_LIMITS: Final = {
    "emailLimit": ("email_outbox", 25),
    "stuckEmailLimit": ("stuck_emails", 50),
    "rawProviderPayloadLimit": ("raw_provider_payloads", 50),
    "acpSessionLimit": ("acp_sessions", 50),
    "accountDeleteLimit": ("account_delete_requests", 25),
    "stuckWorkflowLimit": ("stuck_workflows", 50),
    "webhookRetryLimit": ("webhook_retries", 50),
}
"""The cases' option for each subtask's limit, and the batch that the reference takes without one."""

REFERENCE_NAMES: Final = {
    "email_outbox": "emailOutbox",
    "stuck_emails": "stuckEmails",
    "raw_provider_payloads": "rawProviderPayloads",
    "acp_sessions": "acpSessions",
    "stock_reservations": "stockReservations",
    "ephemeral_records": "ephemeralRecords",
    "account_delete_requests": "accountDeleteRequests",
    "stuck_workflows": "stuckWorkflows",
    "webhook_retries": "webhookRetries",
}

Case = dict[str, Any]


@dataclass
class RecordingSender:
    """The cases' mail provider: looks at the recipient only."""

    sent: list[Envelope] = field(default_factory=list)

    def send(self, envelope: Envelope) -> SendResult:
        if envelope.to.startswith("fail"):
            raise RuntimeError("smtp 451 temporary failure")
        self.sent.append(envelope)
        return SendResult(None if envelope.to.startswith("slow") else f"pm-{envelope.email_id}")


@dataclass
class StoreBackedApi:
    """The cases' admin API: releases in the same store, and notes the webhooks it is asked to replay."""

    stock: StockRows
    replayed: list[str] = field(default_factory=list)

    def release_expired_reservations(self, *, now: str, idempotency_key: str) -> ReleasedReservations:
        return self.stock.release_expired(due=now, now=now, out_of_time=never_out_of_time)

    def replay_webhook(self, webhook_id: str, *, idempotency_key: str) -> ReplayedWebhook:
        self.replayed.append(webhook_id)
        return ReplayedWebhook(ok=True)


@dataclass
class Played:
    """What a case came to."""

    store: Mapping[str, Any]
    result: Mapping[str, Any]
    sent: list[Envelope]
    replayed: list[str]


def load(path: Path) -> Case:
    case: Case = json.loads(path.read_text(encoding="utf-8"))
    return case


def play(case: Case, database: Database) -> Played:
    """Set a case up in an empty site, run maintenance once, and read what came of it."""
    _set_up(case["before"], database)
    sender, api = RecordingSender(), StoreBackedApi(StockRows(database))
    host = _host(case["configured"], database, sender, api)
    clock = Clock.fixed(to_datetime(case["now"]))
    result: dict[str, Any] = {"now": clock.scheduled_at}
    for subtask in SUBTASKS:
        outcome = outcome_of(subtask, host, clock, _limits(subtask.name, case["options"]))
        result[REFERENCE_NAMES[subtask.name]] = as_recorded(outcome)
    return Played(_read_store(database), result, sender.sent, api.replayed)


def differences(case: Case, played: Played) -> list[str]:
    """Say where a case came out otherwise than recorded, where no deviation on purpose explains it."""
    expected = {
        "store": case["after"],
        "result": case["result"],
        "delivered": case["delivered"],
        "replayed_webhooks": case["replayed_webhooks"],
    }
    found = {
        "store": played.store,
        "result": played.result,
        "delivered": [_as_delivered(envelope) for envelope in played.sent],
        "replayed_webhooks": played.replayed,
    }
    for deviation in DEVIATIONS:
        if deviation.applies(case):
            expected, found = deviation.allow(case, expected, found)
    return [*_compare("", _keyed(expected), _keyed(found)), *_text_differences(case, played.sent)]


def _set_up(store: Mapping[str, Any], database: Database) -> None:
    documents = [
        {
            "plugin_id": database.plugin_id,
            "collection": document["collection"],
            "id": document["id"],
            "data": json.dumps(document["data"], ensure_ascii=False),
            "created_at": document["data"]["createdAt"],
            "updated_at": document["data"]["updatedAt"],
        }
        for document in store["documents"]
    ]
    with database.engine.begin() as connection:
        for table, rows in ((plugin_storage, documents), *((table, store[name]) for name, table in TABLES.items())):
            if rows:
                connection.execute(insert(table), rows)
    AcpSessionStore(database).put(store["acp_sessions"])


def _host(configured: Mapping[str, bool], database: Database, sender: RecordingSender, api: StoreBackedApi) -> Host:
    ops, ledger = Documents(database, "ops"), Documents(database, "ledger")
    repositories = configured["repositories"]
    return Host(
        email_outbox=(
            LeasedOutbox(ops, ledger, sender, EmailRenderer(Brand()), withholds=False, skips_expired_links=False)
            if configured["emailOutboxRunner"]
            else None
        ),
        ops=ops if repositories else None,
        account=Documents(database, "account") if repositories else None,
        ledger=ledger if repositories else None,
        session=Documents(database, "session") if repositories else None,
        stock=StockRows(database) if repositories else None,
        ephemeral=EphemeralRows(database) if repositories else None,
        acp_sessions=AcpSessionStore(database) if configured["acpSessionStore"] else None,
        admin_api=api if configured["api"] else None,
    )


def _limits(subtask: str, options: Mapping[str, Any]) -> RunOptions:
    limits = {name: options.get(option, default) for option, (name, default) in REFERENCE_LIMITS.items()}
    return RunOptions(
        limit=limits.get(subtask),
        raw_payload_retention_days=options.get("rawProviderPayloadRetentionDays", 14),
        account_delete_scope="reference",
    )


def _read_store(database: Database) -> dict[str, Any]:
    with database.reading() as connection:
        documents = connection.execute(select(plugin_storage)).mappings().all()
        store: dict[str, Any] = {
            "documents": [
                {"collection": row["collection"], "id": row["id"], "data": json.loads(row["data"])} for row in documents
            ]
        }
        for name, table in TABLES.items():
            store[name] = [dict(row) for row in connection.execute(select(table)).mappings()]
        store["acp_sessions"] = [json.loads(data) for data in connection.execute(select(acp_sessions.c.data)).scalars()]
    return store


def as_recorded(outcome: Outcome) -> dict[str, Any]:
    """Write an outcome as the reference records it: camelCase, and only what the reference knows."""
    match outcome:
        case Skipped(reason=reason):
            return {"status": "skipped", "reason": reason}
        case Failed(error=error):
            return {"status": "failed", "error": error}
        case Completed(result=result):
            known = {name: value for name, value in result if name in _KNOWN_COUNTS[type(result).__name__]}
            recorded = {_camel(name): value for name, value in known.items()}
            if "items" in recorded:
                recorded["items"] = [_item(item) for item in recorded["items"]]
            return {"status": "completed", "result": recorded}


_KNOWN_COUNTS: Final = {
    "EmailOutboxResult": {
        *("scanned", "leased", "sent", "failed", "skipped", "lease_missed", "lease_lost", "has_more", "items")
    },
    "StuckEmailsResult": {"scanned", "reclaimed"},
    "RawProviderPayloadsResult": {"scanned", "purged"},
    "AcpSessionsResult": {"scanned", "expired", "purged", "has_more"},
    "StockReservationsResult": {"reservations_scanned", "reservations_released", "stock_items"},
    "EphemeralRecordsResult": {"purged"},
    "AccountDeleteRequestsResult": {"scanned", "completed", "failed", "has_more", "items"},
    "StuckWorkflowsResult": {"scanned", "reclaimed"},
    "WebhookRetriesResult": {"scanned", "retried", "skipped_exhausted", "has_more"},
}


def _item(item: Any) -> dict[str, Any]:
    fields = {name: getattr(item, name) for name in item.__dataclass_fields__}
    return {
        _camel(name): value
        for name, value in {**fields, **fields.pop("steps", {})}.items()
        if value is not None and name != "steps"
    }


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _as_delivered(envelope: Envelope) -> dict[str, Any]:
    delivered = {"emailId": envelope.email_id, "to": envelope.to, "kind": envelope.kind}
    return delivered | ({"idempotencyKey": envelope.idempotency_key} if envelope.idempotency_key else {})


def _text_differences(case: Case, sent: list[Envelope]) -> list[str]:
    texts = {envelope.email_id: envelope.text for envelope in sent}
    problems = []
    for facts in case["texts"]:
        text = texts.get(facts["emailId"])
        if text is None:
            continue
        problems += [
            f"texts.{facts['emailId']}: does not mention {fact!r}" for fact in facts["mentions"] if fact not in text
        ]
        problems += [f"texts.{facts['emailId']}: mentions {fact!r}" for fact in facts["omits"] if fact in text]
    return problems


def _keyed(compared: Mapping[str, Any]) -> dict[str, Any]:
    """Put the store's lists under keys, so that their order does not matter."""
    store = compared["store"]
    keys = {"ephemeral_records": "key"}
    return {
        **compared,
        "store": {
            "documents": {f"{document['collection']}/{document['id']}": document for document in store["documents"]},
            **{name: {row[keys.get(name, "id")]: row for row in store[name]} for name in (*TABLES, "acp_sessions")},
        },
    }


def _compare(path: str, expected: Any, found: Any) -> list[str]:
    if expected == "<message>":
        return [] if isinstance(found, str) and found else [f"{path}: no message"]
    if isinstance(expected, dict) and isinstance(found, dict):
        problems = []
        for key in {**expected, **found}:
            inner = f"{path}.{key}" if path else str(key)
            if key not in found:
                problems.append(f"{inner}: is absent")
            elif key not in expected:
                problems.append(f"{inner}: should be absent, is {found[key]!r}")
            else:
                problems += _compare(inner, expected[key], found[key])
        return problems
    if isinstance(expected, list) and isinstance(found, list | tuple):
        if len(expected) != len(found):
            return [f"{path}: should have {len(expected)} entries, has {len(found)}"]
        pairs = enumerate(zip(expected, found, strict=True))
        return [line for index, (one, other) in pairs for line in _compare(f"{path}[{index}]", one, other)]
    same = expected == found and isinstance(expected, bool) == isinstance(found, bool)
    return [] if same else [f"{path}: should be {expected!r}, is {found!r}"]


def check(paths: list[Path], kind: DatabaseKind) -> int:
    """Play the cases on one kind of database, print pass or fail for each, and return how many failed."""
    failed = 0
    with sites(kind) as made:
        for path in paths:
            problems = _problems(path, made.new())
            click.echo(f"{'FAIL' if problems else 'pass'}  {kind:8}  {path.stem}")
            for line in problems[:20]:
                click.echo(f"        {line}")
            failed += bool(problems)
    return failed


def _problems(path: Path, url: str) -> list[str]:
    """Play one case in an empty site. A case that cannot be read or set up is a problem of that case alone."""
    try:
        case = load(path)
        with open_database(url) as database:
            return differences(case, play(case, database))
    except Exception as failure:  # noqa: BLE001 - the other cases must be played
        return [f"cannot be played: {type(failure).__name__}: {failure}"]


@click.command()
@click.argument("case_dir", type=click.Path(exists=True, path_type=Path))
@click.option("--database", type=click.Choice(["sqlite", "postgres"]), help="Only this database; both by default.")
def main(case_dir: Path, database: DatabaseKind | None) -> None:
    """Check the recorded cases in CASE_DIR, or one case file."""
    paths = [case_dir] if case_dir.is_file() else sorted(case_dir.glob("*.json"))
    if not paths:
        raise click.UsageError(f"{case_dir} holds no case: expected files named <subtask>__<what it shows>.json")
    kinds: list[DatabaseKind] = [database] if database else ["sqlite", "postgres"]
    failed = sum(check(paths, kind) for kind in kinds)
    click.echo(f"{len(paths) * len(kinds) - failed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
