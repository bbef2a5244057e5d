"""What an operator sees of emails that failed, and how they put them back, on both databases."""

import pytest

from mika_ops.documents.document import ABSENT
from mika_ops.store.database import Database
from mika_ops_testing.builders import BEFORE, EARLIER, email, put, webhook
from mika_ops_tests.cli.failed_email_calls import FAR_OFF, LONG_AGO, Call, failed_email, ids_in, listed
from mika_ops_tests.cli.test_requeue import _minute, _seconds_since


def test_where_nothing_failed_it_says_so(call: Call) -> None:
    result = call("failed")
    assert (result.exit_code, result.output) == (0, "No email failed permanently.\n")
    assert call("failed", "--skipped").output == "No email was skipped.\n"
    assert call("failed", "--kind", "download").output == "No email of kind download failed permanently.\n"
    assert call("failed", "--json").output == ""


def test_a_failed_email_is_shown_with_its_kind_attempts_error_and_age(call: Call, database: Database) -> None:
    put(database, "ops", failed_email(top={"createdAt": LONG_AGO}), failed_email("email_2", lastError=ABSENT))

    result = call("failed")

    row, other = (line for line in result.stdout.splitlines() if "email_" in line)
    cells = [cell.strip() for cell in row.strip("│").split("│")]
    assert cells[:4] == ["email_1", "magic_link", "5 of 5", "550 no such mailbox"]
    assert cells[4].endswith(" d")
    assert "none recorded" in other
    assert result.stdout.splitlines()[-1] == "2 emails failed permanently."


def test_emails_that_still_have_a_chance_are_not_shown(call: Call, database: Database) -> None:
    put(
        database,
        "ops",
        email("waiting"),
        failed_email("tried_again", attemptCount=4),
        email("done", status="sent"),
        failed_email("on_its_way", leaseExpiresAt=FAR_OFF, lastError=ABSENT),
        webhook(status="failed"),
    )
    assert call("failed").output == "No email failed permanently.\n"


def test_skipped_emails_are_shown_apart(call: Call, database: Database) -> None:
    put(database, "ops", email("left_out", status="skipped", lastError="no template"), failed_email())
    assert ids_in(call("failed", "--skipped", "--json")) == ["left_out"]
    assert call("failed", "--skipped").stdout.splitlines()[-1] == "1 email was skipped."


def test_emails_are_distinguished_by_kind(call: Call, database: Database) -> None:
    kinds = ("magic_link", "order_confirmation", "download")
    put(database, "ops", *(failed_email(f"a_{kind}", kind=kind) for kind in kinds))
    found = ids_in(call("failed", "--json", "--kind", "download", "--kind", "magic_link"))
    assert found == ["a_download", "a_magic_link"]
    assert "1 email of kind download failed permanently." in call("failed", "--kind", "download").stdout


def test_of_hundreds_the_oldest_are_shown_and_all_are_counted(call: Call, database: Database) -> None:
    put(database, "ops", *(failed_email(f"email_{n:03}", top={"createdAt": _minute(n)}) for n in reversed(range(320))))

    result = call("failed")

    assert "email_049" in result.stdout
    assert "email_050" not in result.stdout
    assert result.stdout.splitlines()[-1] == "320 emails failed permanently; shown: the oldest 50."
    assert ids_in(call("failed", "--json")) == [f"email_{n:03}" for n in range(320)]
    assert ids_in(call("failed", "--json", "--limit", "2")) == ["email_000", "email_001"]


def test_json_lines_say_what_the_table_says(call: Call, database: Database) -> None:
    requeues = [{"at": BEFORE, "by": "ada"}]
    put(database, "ops", failed_email(metadata={"link": "l", "requeues": requeues}), failed_email("email_2"))

    letter, _ = listed(call("failed", "--json"))

    assert letter.pop("age_seconds") == pytest.approx(_seconds_since(EARLIER), abs=60)
    assert letter == {
        "id": "email_1",
        "kind": "magic_link",
        "status": "failed",
        "attempts": 5,
        "max_attempts": 5,
        "error": "550 no such mailbox",
        "created_at": EARLIER,
        "requeues": 1,
    }


def test_an_error_that_quotes_an_address_or_a_link_is_shown_without(call: Call, database: Database) -> None:
    put(
        database,
        "ops",
        failed_email(lastError="550 <email_1@example.test>: see https://shop.test/magic?token=abc\nand more"),
    )
    for result in (call("failed"), call("failed", "--json")):
        assert "550 <<address>>: see <link> and more" in result.stdout


def test_of_an_address_no_more_than_the_domain_is_shown_and_only_when_asked(call: Call, database: Database) -> None:
    put(database, "ops", failed_email("x", toEmail="ada@example.test"), failed_email("y", toEmail="nobody"))
    assert "example.test" not in call("failed").stdout + call("failed", "--json").stdout
    assert "│ …@example.test" in call("failed", "--addresses").stdout
    assert [letter["to"] for letter in listed(call("failed", "--addresses", "--json"))] == [
        "…@example.test",
        "no address",
    ]


def test_an_email_of_odd_shape_is_shown_all_the_same(call: Call, database: Database) -> None:
    put(
        database,
        "ops",
        failed_email(
            "[bold]odd", kind=5, lastError=["x"], attemptCount=5.5, createdAt="then", top={"createdAt": "[/]"}
        ),
    )
    assert "│ [bold]odd │ –" in call("failed").stdout
    (letter,) = listed(call("failed", "--json"))
    assert (letter["id"], letter["kind"], letter["error"], letter["attempts"]) == ("[bold]odd", None, None, 5.5)
    assert (letter["created_at"], letter["age_seconds"]) == (None, None)


def test_emails_that_cannot_be_read_are_counted(call: Call, database: Database) -> None:
    put(database, "ops", failed_email(), failed_email("broken", attemptCount="many"))
    lines = call("failed").stdout.splitlines()
    assert lines[-2:] == [
        "1 email failed permanently.",
        "1 more cannot be read: fix or remove their documents.",
    ]


@pytest.mark.parametrize("limit", ["0", "-1", "few"])
def test_a_limit_is_a_positive_number(call: Call, limit: str) -> None:
    assert call("failed", "--limit", limit).exit_code == 2
