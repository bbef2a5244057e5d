"""What a drain makes of a mail server's faults: the outcome, the documents and the log say the right thing."""

import logging
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest

from mika_ops.clock import Clock
from mika_ops.documents.document import Document
from mika_ops.email.outbox.circuit_breaker import UNREACHABLE_LIMIT
from mika_ops.email.smtp.sender import SmtpSender
from mika_ops.store.database import Database
from mika_ops.subtasks.email_outbox import SUBTASK, EmailOutboxResult
from mika_ops.subtasks.outcome import Completed, Failed, Outcome
from mika_ops.subtasks.subtask import RunOptions, outcome_of
from mika_ops.timestamps import to_datetime
from mika_ops_testing.builders import BEFORE, NOW, documents_of, email, put
from mika_ops_testing.fakes import host_of, outbox_of
from mika_ops_testing.smtp_server import (
    HANG,
    HANG_UP,
    TAKEN,
    Mailroom,
    accepting,
    free_port,
    mail_server,
    self_signed,
    silent,
)
from mika_ops_tests.orchestration.fake_host import run_job

IN_A_MINUTE = "2026-03-01T12:01:00.000Z"
LEASE_FIELDS = {"leaseKey", "leasedAt", "leaseExpiresAt"}


@contextmanager
def sender(port: int, *, scheme: str = "smtp", login: str = "", **options: Any) -> Iterator[SmtpSender]:
    with SmtpSender(f"{scheme}://{login}127.0.0.1:{port}", sender="Shop <shop@shop.test>", **options) as smtp:
        yield smtp


def drained(database: Database, smtp: SmtpSender, clock: Clock, **options: Any) -> Outcome:
    """Run the subtask once with this sender; return how it ended."""
    outbox = replace(outbox_of(database, smtp), **options)
    return outcome_of(SUBTASK, replace(host_of(database), email_outbox=outbox), clock, RunOptions())


def counts(outcome: Outcome) -> dict[str, int]:
    """The counts that are not zero."""
    assert isinstance(outcome, Completed | Failed)
    assert outcome.result is not None
    return {name: value for name, value in outcome.result.counts().items() if value and name != "scanned"}  # type: ignore[misc]


def record(database: Database, id_: str = "email_1") -> Document:
    found: Document = documents_of(database, "ops")[id_]["record"]
    return found


def without_stamp(documents: Mapping[str, Document]) -> dict[str, Document]:
    """The documents without the time of their last change."""
    return {
        id_: {
            **{key: value for key, value in document.items() if key != "updatedAt"},
            "record": {key: value for key, value in document["record"].items() if key != "updatedAt"},
        }
        for id_, document in documents.items()
    }


@dataclass
class Slept:
    """A timer that only sleeping moves."""

    pauses: list[float] = field(default_factory=list)

    def timer(self) -> float:
        return sum(self.pauses)

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)


Fault = Callable[[ssl.SSLContext], AbstractContextManager[tuple[SmtpSender, Mailroom | None]]]


def answering(answers: dict[str, list[str]], **options: Any) -> Fault:
    """A server that answers so, and a sender that soon gives up."""

    @contextmanager
    def fault(_tls: ssl.SSLContext) -> Iterator[tuple[SmtpSender, Mailroom | None]]:
        with (
            mail_server({command: list(said) for command, said in answers.items()}) as mailroom,
            sender(mailroom.port, **options) as smtp,
        ):
            yield smtp, mailroom

    return fault


@contextmanager
def down(_tls: ssl.SSLContext) -> Iterator[tuple[SmtpSender, Mailroom | None]]:
    with sender(free_port()) as smtp:
        yield smtp, None


@contextmanager
def accepts_and_says_nothing(_tls: ssl.SSLContext) -> Iterator[tuple[SmtpSender, Mailroom | None]]:
    with silent() as port, sender(port, connect_timeout_seconds=0.1) as smtp:
        yield smtp, None


@contextmanager
def rejects_the_login(_tls: ssl.SSLContext) -> Iterator[tuple[SmtpSender, Mailroom | None]]:
    with (
        mail_server(**accepting("shop", "right")) as mailroom,
        sender(mailroom.port, login="shop:wrong@") as smtp,
    ):
        yield smtp, mailroom


def bad_certificate(scheme: str) -> Fault:
    option = {"smtps": "ssl_context", "smtp+starttls": "tls_context"}[scheme]

    @contextmanager
    def fault(tls: ssl.SSLContext) -> Iterator[tuple[SmtpSender, Mailroom | None]]:
        options: dict[str, Any] = {option: tls}
        with mail_server(**options) as mailroom, sender(mailroom.port, scheme=scheme) as smtp:
            yield smtp, mailroom

    return fault


DEAD: dict[str, tuple[Fault, str]] = {
    "is down": (down, "could not be reached: Connection refused"),
    "accepts and says nothing": (accepts_and_says_nothing, "was lost at the greeting: "),
    "hangs at EHLO": (answering({"EHLO": [HANG] * 50}, connect_timeout_seconds=0.1), "was lost at EHLO: "),
    "hangs at MAIL": (answering({"MAIL": [HANG] * 50}, timeout_seconds=0.2), "broke at MAIL: "),
    "turns everybody away": (
        answering({"greeting": ["421 4.3.2 closing down"] * 50}),
        "the mail server answered 421 to the greeting: 4.3.2 closing down",
    ),
    "hangs up at once": (answering({"greeting": [HANG_UP] * 50}), "was lost at the greeting: "),
    "hangs up at MAIL": (answering({"MAIL": [HANG_UP] * 50}), "broke at MAIL: "),
    "closes down at MAIL": (
        answering({"MAIL": ["421 4.3.2 closing down"] * 50}),
        "the mail server answered 421 to MAIL: 4.3.2 closing down",
    ),
    "wants a login": (
        answering({"MAIL": ["530 5.7.0 authentication required"] * 50}),
        "the mail server answered 530 to MAIL: 5.7.0 authentication required; check the user and the password",
    ),
    "rejects the login": (rejects_the_login, "the mail server answered 535 to AUTH: "),
    "has a bad certificate": (bad_certificate("smtps"), "certificate was not accepted: self-signed certificate"),
    "has a bad certificate after STARTTLS": (
        bad_certificate("smtp+starttls"),
        "certificate was not accepted: self-signed certificate",
    ),
}


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """What a server needs to show a certificate that nobody vouches for."""
    return self_signed(tmp_path_factory.mktemp("tls"))[1]


@pytest.fixture(params=DEAD)
def dead(request: pytest.FixtureRequest, tls: ssl.SSLContext) -> Iterator[tuple[SmtpSender, Mailroom | None, str]]:
    """A sender whose server is as good as dead, the server where there is one, and what is to be said of it."""
    fault, sentence = DEAD[request.param]
    with fault(tls) as (smtp, mailroom):
        yield smtp, mailroom, sentence


class TestDeadServer:
    def test_it_ends_the_drain_and_burns_no_attempt(
        self, dead: tuple[SmtpSender, Mailroom | None, str], database: Database, clock: Clock
    ) -> None:
        smtp, mailroom, sentence = dead
        put(
            database,
            "ops",
            email("email_0", attemptCount=4, status="failed", lastError="greylisted", nextAttemptAt=BEFORE),
            *(email(f"email_{number}") for number in range(1, 12)),
        )
        before = without_stamp(documents_of(database, "ops"))

        outcome = drained(database, smtp, clock, concurrency=2)

        assert without_stamp(documents_of(database, "ops")) == before
        assert isinstance(outcome, Failed)
        assert isinstance(outcome.result, EmailOutboxResult)
        assert sentence in outcome.error
        assert f"the drain stopped after {UNREACHABLE_LIMIT} emails in a row" in outcome.error
        assert outcome.result.stopped_reason == outcome.error
        assert set(counts(outcome)) == {"leased", "released", "has_more"}
        assert outcome.result.released == outcome.result.leased
        assert mailroom is None or mailroom.deliveries == []

    def test_the_log_says_so_without_anything_private(self, database: Database) -> None:
        put(database, "ops", *(email(f"email_{number}") for number in range(4)))
        port = free_port()
        with sender(port, login="canary:s3cret@") as smtp:
            run = run_job(host_of(database, smtp), config={"subtasks": ["email_outbox"]})
        assert run.logged(logging.ERROR) == [f"email_outbox failed: {run.metadata['email_outbox']['error']}"]
        assert run.metadata["email_outbox"]["error"] == (
            f"the mail server 127.0.0.1:{port} could not be reached: Connection refused; "
            f"the drain stopped after {UNREACHABLE_LIMIT} emails in a row failed this way"
        )
        assert run.metadata["email_outbox"]["stopped_reason"] == run.metadata["email_outbox"]["error"]
        assert run.metadata["email_outbox"]["released"] == 4

    def test_once_the_server_is_back_everything_is_sent_at_the_first_attempt(
        self, database: Database, clock: Clock
    ) -> None:
        put(database, "ops", *(email(f"email_{number}") for number in range(6)))
        with mail_server({"MAIL": ["421 4.3.2 closing down"] * 3}) as mailroom, sender(mailroom.port) as smtp:
            assert isinstance(drained(database, smtp, clock), Failed)
            assert counts(drained(database, smtp, clock)) == {"leased": 6, "sent": 6}
        assert {document["record"]["attemptCount"] for document in documents_of(database, "ops").values()} == {1}


class TestRefusals:
    @pytest.mark.parametrize("command", ["RCPT", "DATA", "the message"])
    @pytest.mark.parametrize("answer", ["450 4.2.1 mailbox busy", "550 5.7.1 not welcome"])
    def test_a_refused_email_is_retried_later_and_the_others_are_sent(
        self, command: str, answer: str, database: Database, clock: Clock
    ) -> None:
        put(database, "ops", *(email(f"email_{number}") for number in range(1, 4)))
        slept = Slept()
        with mail_server({command: [answer]}) as mailroom, sender(mailroom.port) as smtp:
            outcome = drained(database, smtp, clock, timer=slept.timer, sleep=slept.sleep)
            assert mailroom.connections == 1
        assert isinstance(outcome, Completed)
        assert counts(outcome) == {"leased": 3, "failed": 1, "sent": 2}
        refused = record(database)
        assert refused["lastError"] == f"the mail server answered {answer[:3]} to {command}: {answer[4:]}"
        assert (refused["status"], refused["attemptCount"], refused["nextAttemptAt"]) == ("failed", 1, IN_A_MINUTE)
        assert not LEASE_FIELDS & set(refused)

    @pytest.mark.parametrize("command", ["RCPT", "DATA"])
    @pytest.mark.parametrize("fault", [HANG_UP, HANG])
    def test_an_email_on_which_the_server_breaks_is_counted_and_does_not_keep_the_others(
        self, command: str, fault: str, database: Database, clock: Clock
    ) -> None:
        put(database, "ops", email("email_1"), email("email_2"))
        with mail_server({command: [fault]}) as mailroom, sender(mailroom.port, timeout_seconds=0.3) as smtp:
            outcome = drained(database, smtp, clock)
        assert counts(outcome) == {"leased": 2, "failed": 1, "sent": 1}
        assert record(database)["attemptCount"] == 1
        assert f"the connection to the mail server broke at {command}" in record(database)["lastError"]

    def test_a_refusal_of_the_last_attempt_is_for_good(self, database: Database, clock: Clock) -> None:
        put(database, "ops", email(attemptCount=4))
        with mail_server({"RCPT": ["550 5.1.1 no such user"]}) as mailroom, sender(mailroom.port) as smtp:
            outcome = drained(database, smtp, clock)
        assert isinstance(outcome, Completed)
        assert isinstance(outcome.result, EmailOutboxResult)
        assert outcome.result.items[0].terminal
        assert (record(database)["status"], record(database)["attemptCount"]) == ("failed", 5)
        assert "nextAttemptAt" not in record(database)

    def test_the_log_counts_it_and_names_nobody(self, database: Database) -> None:
        put(database, "ops", email("email_1"), email("email_2"))
        answer = "550 5.1.1 <email_1@example.test> unknown, see https://mail.test/email_1"
        with mail_server({"RCPT": [answer]}) as mailroom, sender(mailroom.port) as smtp:
            run = run_job(host_of(database, smtp), config={"subtasks": ["email_outbox"]})
        assert "email_outbox: scanned 2, leased 2, sent 1, failed 1" in run.logged(logging.INFO)
        everything = f"{run.log} {run.metadata} {record(database)['lastError']}"
        assert "example.test" not in everything
        assert "mail.test" not in everything


class TestThrottling:
    @pytest.mark.parametrize(
        ("command", "answer"),
        [
            ("RCPT", "421 4.7.0 too many emails"),
            ("DATA", "450 4.7.1 rate limit exceeded"),
            ("the message", "451 4.3.2 try again later"),
        ],
    )
    def test_it_slows_the_drain_down_and_fails_only_the_email_that_was_turned_back(
        self, command: str, answer: str, database: Database, clock: Clock
    ) -> None:
        put(database, "ops", *(email(f"email_{number}") for number in range(1, 4)))
        slept = Slept()
        with mail_server({command: [answer]}) as mailroom, sender(mailroom.port) as smtp:
            outcome = drained(database, smtp, clock, timer=slept.timer, sleep=slept.sleep)
        assert counts(outcome) == {"leased": 3, "failed": 1, "sent": 2}
        assert (record(database)["status"], record(database)["attemptCount"]) == ("failed", 1)
        assert record(database)["lastError"].startswith(f"the mail server answered {answer[:3]} to {command}")
        assert sum(slept.pauses) == 1.0

    @pytest.mark.parametrize("command", ["MAIL", "RCPT", "DATA"])
    def test_a_421_in_the_middle_of_a_session_costs_no_email_its_attempt(
        self, command: str, database: Database, clock: Clock
    ) -> None:
        put(database, "ops", *(email(f"email_{number}") for number in range(4)))
        fine = "" if command == "DATA" else "250 OK"
        answers = {command: [fine, "421 4.4.2 too many emails in this session", fine, fine]}
        with mail_server(answers) as mailroom, sender(mailroom.port) as smtp:
            outcome = drained(database, smtp, clock)
            assert mailroom.connections == 2
        assert counts(outcome) == {"leased": 4, "sent": 4}
        assert len(mailroom.deliveries) == 4
        assert {document["record"]["attemptCount"] for document in documents_of(database, "ops").values()} == {1}


class TestUncertainty:
    @pytest.mark.parametrize("fault", [HANG_UP, HANG])
    def test_an_email_that_may_have_been_taken_is_sent_again_as_the_same_message(
        self, fault: str, database: Database
    ) -> None:
        put(database, "ops", email(idempotencyKey="magic-link:1"))
        now, later = to_datetime(NOW), to_datetime(NOW) + timedelta(minutes=1)
        with (
            mail_server({"the message": [fault, TAKEN]}) as mailroom,
            sender(mailroom.port, timeout_seconds=0.3) as smtp,
        ):
            uncertain = drained(database, smtp, Clock.fixed(now))
            in_doubt = record(database)
            too_early = drained(database, smtp, Clock.fixed(later - timedelta(seconds=1)))
            certain = drained(database, smtp, Clock.fixed(later))
        assert counts(uncertain) == {"leased": 1, "failed": 1}
        assert "broke after the message, which it may or may not have taken" in in_doubt["lastError"]
        assert (in_doubt["status"], in_doubt["attemptCount"], in_doubt["nextAttemptAt"]) == ("failed", 1, IN_A_MINUTE)
        assert counts(too_early) == {}
        assert counts(certain) == {"leased": 1, "sent": 1}
        assert (record(database)["status"], record(database)["attemptCount"]) == ("sent", 2)
        assert record(database)["providerMessageId"] == "ABC123"
        first, second = mailroom.messages
        assert first["Message-ID"] == second["Message-ID"]
        assert first["Idempotency-Key"] == second["Idempotency-Key"] == "magic-link:1"
        assert first.as_bytes().partition(b"Message-ID")[2] == second.as_bytes().partition(b"Message-ID")[2]
