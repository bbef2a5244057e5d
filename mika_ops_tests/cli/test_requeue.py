"""``mika-ops email requeue``: which emails go back into the outbox, and which are refused."""

import getpass
from collections.abc import Sequence
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import text

from mika_ops.cli.main import main
from mika_ops.clock import Clock, utc_now
from mika_ops.deadline import never_out_of_time
from mika_ops.documents.repository import Change
from mika_ops.rules import email as rules
from mika_ops.rules.personal_data import redacted_email
from mika_ops.store.database import Database
from mika_ops.store.documents import Documents
from mika_ops.store.errors import DatabaseError
from mika_ops.timestamps import to_datetime
from mika_ops_testing.builders import BEFORE, NOW, email, get, order, put, webhook
from mika_ops_testing.fakes import Provider, outbox_of
from mika_ops_tests.cli.failed_email_calls import FAR_OFF, LONG_AGO, Call, failed_email, with_status


def test_an_email_named_by_its_id_is_put_back_and_sent_by_the_next_drain(
    call: Call, database: Database, clock: Clock
) -> None:
    put(database, "ops", failed_email(), failed_email("other"))

    result = call("requeue", "email_1")

    assert result.exit_code == 0
    assert result.output == "Put 1 email back into the outbox; the next run sends what is due there.\n"
    provider = Provider()
    outbox_of(database, provider).drain(clock, limit=None, out_of_time=never_out_of_time)
    assert provider.ids == ["email_1"]
    assert get(database, "ops", "email_1")["record"]["status"] == "sent"
    assert get(database, "ops", "other") == failed_email("other")


def test_it_is_written_down_who_put_an_email_back_and_when(call: Call, database: Database) -> None:
    put(database, "ops", failed_email("by_name"), failed_email("by_default"))

    call("requeue", "by_name", "--by", " Grace Hopper ")
    call("requeue", "by_default")

    (named,) = get(database, "ops", "by_name")["record"]["metadata"]["requeues"]
    (default,) = get(database, "ops", "by_default")["record"]["metadata"]["requeues"]
    assert (named["by"], default["by"]) == ("Grace Hopper", "grace")
    assert _seconds_since(named["at"]) < 60


def test_an_email_that_was_skipped_is_put_back_by_its_id(call: Call, database: Database) -> None:
    put(database, "ops", email(status="skipped", attemptCount=1, lastError="no template"))
    assert call("requeue", "email_1").exit_code == 0
    assert with_status(database, "queued") == ["email_1"]


def test_hundreds_are_put_back_with_yes_and_all_sent_once(call: Call, database: Database, clock: Clock) -> None:
    put(database, "ops", *(failed_email(f"email_{number:03}") for number in range(620)))

    result = call("requeue", "--all-failed", "--yes")

    assert result.exit_code == 0
    assert result.output.startswith("Put 620 emails back")
    provider = Provider()
    outbox_of(database, provider).drain(clock, limit=None, out_of_time=never_out_of_time)
    assert sorted(provider.ids) == [f"email_{number:03}" for number in range(620)]
    assert call("requeue", "--all-failed").output == "There is nothing to requeue.\n"


def test_all_of_a_kind_are_put_back_and_no_other(call: Call, database: Database) -> None:
    put(database, "ledger", order())
    put(
        database,
        "ops",
        failed_email("link"),
        failed_email("confirmation", kind="order_confirmation", orderId="order_1"),
        email("left_out", status="skipped", kind="order_confirmation"),
    )
    assert call("requeue", "--all-failed", "--kind", "order_confirmation").exit_code == 0
    assert with_status(database, "queued") == ["confirmation"]


def test_more_than_ten_are_put_back_only_after_a_yes(call: Call, database: Database, asked: None) -> None:
    put(database, "ops", *(failed_email(f"email_{number:02}") for number in range(11)))

    no = call("requeue", "--all-failed", answer="n\n")

    assert no.exit_code == 1
    assert "Put 11 emails back into the outbox? [y/N]" in no.output
    assert "Nothing was changed." in no.output
    assert with_status(database, "queued") == []
    assert call("requeue", "--all-failed", answer="y\n").exit_code == 0
    assert len(with_status(database, "queued")) == 11


def test_ten_are_put_back_without_a_question(call: Call, database: Database) -> None:
    put(database, "ops", *(failed_email(f"email_{number}") for number in range(10)))
    assert call("requeue", "--all-failed").exit_code == 0
    assert len(with_status(database, "queued")) == 10


def test_many_named_ids_are_asked_about_too_and_without_a_terminal_refused(call: Call, database: Database) -> None:
    ids = [f"email_{number:02}" for number in range(11)]
    put(database, "ops", *map(failed_email, ids))

    result = call("requeue", *ids)

    assert result.exit_code == 2
    assert result.output == (
        "mika-ops: 11 emails would be put back into the outbox: confirm with --yes, as there is no terminal\n"
    )
    assert with_status(database, "queued") == []
    assert call("requeue", *ids, "--yes").exit_code == 0


def test_an_id_named_twice_counts_once(call: Call, database: Database) -> None:
    put(database, "ops", failed_email())
    result = call("requeue", "email_1", "email_1")
    assert (result.exit_code, result.output.split(";")[0]) == (0, "Put 1 email back into the outbox")
    assert len(get(database, "ops", "email_1")["record"]["metadata"]["requeues"]) == 1


def test_each_id_that_is_left_alone_is_reported_with_the_reason_and_the_others_are_put_back(
    call: Call, database: Database
) -> None:
    left = {
        "sent": (email("sent", status="sent"), "it was sent"),
        "queued": (email("queued"), "it is queued already"),
        "hopeful": (failed_email("hopeful", attemptCount=4), "it has attempts left and is retried without you"),
        "held": (failed_email("held", leaseExpiresAt=FAR_OFF), "a worker holds it and may be sending it"),
        "broken": (failed_email("broken", attemptCount="x"), "its document cannot be read: record.attemptCount"),
        "webhook_1": (webhook(), "it is no email"),
    }
    documents = [document for document, _ in left.values()]
    put(database, "ops", *documents, failed_email())

    result = call("requeue", "email_1", *left, "unheard_of")

    assert result.exit_code == 1
    assert result.stdout.startswith("Put 1 email back")
    for id_, why in (*((id_, why) for id_, (_, why) in left.items()), ("unheard_of", "there is no such email")):
        assert f"Not requeued: {id_}: {why}" in result.stderr
    assert [get(database, "ops", id_) for id_ in left] == documents


def test_an_address_given_for_an_id_is_not_repeated(call: Call) -> None:
    result = call("requeue", "ada@example.test")
    assert result.exit_code == 1
    assert result.output == "Not requeued: <address>: there is no such email\n"


def test_what_an_account_delete_redacted_is_never_put_back(call: Call, database: Database) -> None:
    redacted = redacted_email(failed_email("redacted"), now=BEFORE)
    as_failed = {**redacted, "id": "as_failed", "status": "failed"}
    by_address = failed_email("by_address", toEmail="redacted-1@redacted.invalid")
    put(database, "ops", redacted, as_failed, by_address)

    named = call("requeue", "redacted", "as_failed", "by_address")
    of_all = call("requeue", "--all-failed", "--yes")

    assert (named.exit_code, of_all.exit_code) == (1, 0)
    assert named.output.count("it was redacted, as the account that it was for is deleted") == 3
    assert of_all.stdout == "There is nothing to requeue.\n"
    assert [get(database, "ops", id_) for id_ in ("redacted", "as_failed", "by_address")] == [
        redacted,
        as_failed,
        by_address,
    ]


def test_a_magic_link_of_no_use_is_put_back_by_its_id_with_a_warning(call: Call, database: Database) -> None:
    put(
        database,
        "ops",
        failed_email("expired", metadata={"link": "https://shop.test/1", "expiresAt": LONG_AGO}),
        failed_email("linkless", metadata={}),
    )

    result = call("requeue", "expired", "linkless")

    assert result.exit_code == 0
    assert result.stderr.splitlines() == [
        "Warning: expired: its link has expired, so that it would be skipped",
        "Warning: linkless: its link is gone, so that it would be skipped",
    ]
    assert with_status(database, "queued") == ["expired", "linkless"]


def test_magic_links_of_no_use_are_left_alone_by_all_failed(call: Call, database: Database) -> None:
    put(
        database,
        "ops",
        failed_email("expired", metadata={"link": "https://shop.test/1", "expiresAt": LONG_AGO}),
        failed_email("linkless", metadata={}),
        failed_email("fresh", metadata={"link": "https://shop.test/2", "expiresAt": FAR_OFF}),
    )

    result = call("requeue", "--all-failed")

    assert result.exit_code == 0
    assert result.stderr.startswith("Not requeued: 2 magic links, expired or without the link;")
    assert with_status(database, "queued") == ["fresh"]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ((), "nothing to requeue: give the ids of emails, or --all-failed"),
        (("email_1", "--all-failed"), "give either the ids of emails or --all-failed, not both"),
        (("email_1", "--kind", "magic_link"), "--kind applies to --all-failed only"),
        (("email_1", "--by", " "), "--by must be a name of 1 to 100 characters, on one line"),
        (("email_1", "--by", "a\nb"), "--by must be a name of 1 to 100 characters, on one line"),
        (("email_1", "--by", "x" * 101), "--by must be a name of 1 to 100 characters, on one line"),
        (("email_1", "\udcff"), "'\\udcff' is not valid UTF-8: no id and no kind contains it"),
    ],
)
def test_a_call_that_is_wrong_changes_nothing(
    call: Call, database: Database, arguments: Sequence[str], why: str
) -> None:
    put(database, "ops", failed_email())
    result = call("requeue", *arguments)
    assert (result.exit_code, result.output) == (2, f"mika-ops: {why}\n")
    assert get(database, "ops", "email_1") == failed_email()


def test_where_nobody_knows_the_user_a_name_must_be_given(
    call: Call, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody() -> str:
        raise OSError("No username set in the environment")

    monkeypatch.setattr(getpass, "getuser", nobody)
    put(database, "ops", failed_email())
    assert call("requeue", "email_1").output == (
        "mika-ops: your user name is unknown: say who requeues with --by NAME\n"
    )
    assert call("requeue", "email_1", "--by", "grace").exit_code == 0


@pytest.mark.parametrize("arguments", [("failed",), ("requeue", "email_1")])
def test_without_a_database_there_is_nothing_to_look_at(arguments: Sequence[str]) -> None:
    result = CliRunner().invoke(main, ["email", *arguments, *(["--by", "grace"] if "requeue" in arguments else [])])
    assert result.exit_code == 2
    assert result.output == "mika-ops: MIKA_DATABASE_URL is not set: there is no database to open\n"


def test_an_email_that_a_worker_takes_meanwhile_is_left_to_it(
    call: Call, database: Database, monkeypatch: pytest.MonkeyPatch, asked: None
) -> None:
    ids = [f"email_{number:02}" for number in range(11)]
    put(database, "ops", *map(failed_email, ids))

    def meanwhile(_question: str) -> bool:
        changed = {id_: rules.sent(failed_email(id_), now=NOW, provider_message_id="pm") for id_ in ids[:2]}
        documents = Documents(database, "ops")
        documents.change(ids[:2], lambda id_, _document: Change(changed[id_], None))
        return True

    monkeypatch.setattr("click.confirm", meanwhile)
    result = call("requeue", *ids)

    assert result.exit_code == 1
    assert result.stderr.splitlines() == [f"Not requeued: {id_}: it was sent" for id_ in ids[:2]]
    assert with_status(database, "queued") == ids[2:]


def test_a_locked_email_is_reported(call: Call, database: Database) -> None:
    if database.dialect == "sqlite":
        pytest.skip("SQLite locks the whole file: the command waits")
    put(database, "ops", failed_email("free"), failed_email("locked"))
    with database.engine.begin() as connection:
        connection.execute(text("SELECT 1 FROM _plugin_storage WHERE id = 'locked' FOR UPDATE"))
        result = call("requeue", "free", "locked")
    assert result.exit_code == 1
    assert result.stderr == "Not requeued: locked: another process is changing it; retry\n"
    assert with_status(database, "queued") == ["free"]


def test_a_database_that_fails_half_way_leaves_what_was_put_back_and_says_how_many(
    call: Call, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(database, "ops", *(failed_email(f"email_{number:03}") for number in range(300)))
    change, batches = Documents.change, []

    def failing(self: Documents, ids: Sequence[str], rule: Any, **options: Any) -> Any:
        batches.append(ids)
        if len(batches) == 2:
            raise DatabaseError("the shop's database: disk full")
        return change(self, ids, rule, **options)

    monkeypatch.setattr(Documents, "change", failing)
    result = call("requeue", "--all-failed", "--yes")

    assert result.exit_code == 1
    assert result.stderr == "mika-ops: the shop's database: disk full\n"
    assert result.stdout.startswith("Put 250 emails back")
    assert len(with_status(database, "queued")) == 250


def _minute(number: int) -> str:
    return f"2026-02-{1 + number // 1440:02}T{number // 60 % 24:02}:{number % 60:02}:00.000Z"


def _seconds_since(time: str) -> float:
    return (utc_now() - to_datetime(time)).total_seconds()
