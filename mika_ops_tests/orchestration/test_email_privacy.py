"""Dagster keeps what a run logs indefinitely: it holds nothing of a shopper's email, however the email ended."""

from pathlib import Path

import pytest

from mika_ops.config.loading import isolated_settings
from mika_ops.orchestration.definitions import build_definitions
from mika_ops.store.opening import open_database
from mika_ops_testing.builders import email, order, put
from mika_ops_testing.smtp_server import mail_server
from mika_ops_tests.orchestration.test_secrets import files_with, recorded_in

CANARY = "canary-91be"

REFUSED = f"550 5.1.1 <{CANARY}@example.test> no such user, see https://mail.example.test/{CANARY}"
THROTTLED = f"451 4.7.1 too many emails to {CANARY}@example.test"


def mail_of_every_fate(url: str) -> None:
    link = {"metadata": {"link": f"https://shop.example.test/magic/{CANARY}", "purpose": CANARY}}
    with open_database(url) as database:
        put(database, "ledger", order("order_1", customer={"email": f"{CANARY}@example.test", "name": CANARY}))
        put(
            database,
            "ops",
            *(
                email(f"email_{number}", toEmail=f"{CANARY}@example.test", subject=CANARY, **link)
                for number in range(6)
            ),
            email("email_order", kind="order_confirmation", orderId="order_1", toEmail=f"{CANARY}@example.test"),
            email("email_bad", toEmail=f"{CANARY}\r\nBcc: {CANARY}@example.test", **link),
            email("email_kind", kind=CANARY, toEmail=f"{CANARY}@example.test"),
        )


def test_no_address_link_or_name_is_kept_of_mail_that_is_sent_refused_or_skipped(
    url: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    mail_of_every_fate(url)
    (home := tmp_path / "home").mkdir()
    answers = {"RCPT": ["250 OK", REFUSED, THROTTLED], "the message": ["250 OK", REFUSED]}
    with mail_server(answers) as mailroom, recorded_in(home) as instance:
        settings = isolated_settings(
            database_url=url, smtp_url=f"smtp://127.0.0.1:{mailroom.port}", email_from="Shop <shop@example.test>"
        )
        job = build_definitions(settings=settings).resolve_job_def("mika_maintenance")
        run = job.execute_in_process(instance=instance)
        events = [event for event in run.all_events if event.is_step_success]
        arrived = len(mailroom.messages)

    assert len(events) == 10
    assert arrived > 0
    assert files_with("email_outbox", home)
    assert files_with(CANARY, home) == []
    printed = capfd.readouterr()
    assert CANARY not in printed.out + printed.err
