"""A drain that is killed loses no email, and repeats at most those that were under way."""

import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from mika_ops.store.opening import open_database
from mika_ops_testing.builders import documents_of, email, put
from mika_ops_testing.smtp_server import mail_server
from mika_ops_tests.email.outbox.drain_process import CONCURRENCY

pytestmark = pytest.mark.thorough  # a series of kills of drains

EMAILS_A_KILL = 30
LONGEST_LIFE_SECONDS = 0.25

PROJECT = Path(__file__).resolve().parents[3]


def start(database_url: str, smtp_url: str, minutes: int) -> subprocess.Popen[str]:
    """Start a drain whose clock is so many minutes ahead, and wait until it is about to lease."""
    process = subprocess.Popen(  # noqa: S603 - our own interpreter and words
        [sys.executable, "-m", "mika_ops_tests.email.outbox.drain_process", database_url, smtp_url, str(minutes)],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_every_email_arrives_whenever_the_drain_is_killed(url: str, request: pytest.FixtureRequest) -> None:
    wanted = 50 if request.config.getoption("--long") else 10
    emails = EMAILS_A_KILL * wanted
    with open_database(url) as database:
        put(database, "ops", *(email(f"email_{number:04}", maxAttempts=1_000) for number in range(emails)))
    moments = random.Random(7)  # noqa: S311 - moments, not secrets
    kills = 0
    with mail_server() as mailroom:
        smtp_url = f"smtp://127.0.0.1:{mailroom.port}"
        for attempt in range(wanted):
            with start(url, smtp_url, minutes=10 * attempt) as process:
                time.sleep(moments.uniform(0, LONGEST_LIFE_SECONDS))
                kills += process.poll() is None
                process.kill()
        with start(url, smtp_url, minutes=10 * wanted) as process:
            assert process.wait(timeout=120) == 0
        arrived = Counter(message["Message-ID"] for message in mailroom.messages)
        recipients = {message["To"] for message in mailroom.messages}

    assert kills > wanted // 2, "the drain was through before most of the kills: give it more emails"
    assert len(recipients) == emails, "an email was lost"
    assert len(arrived) == emails, "a repeated email had another Message-ID"
    assert arrived.total() - emails <= kills * CONCURRENCY
    with open_database(url) as database:
        documents = documents_of(database, "ops")
    assert {document["status"] for document in documents.values()} == {"sent"}
    assert not any("leaseKey" in document["record"] for document in documents.values())
