"""The senders and the outbox fit their ports: the suites that hosts use."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mika_ops.documents.document import Document
from mika_ops.email.content.renderer import Brand, EmailRenderer
from mika_ops.email.directory import FileSink
from mika_ops.email.outbox.outbox import LeasedOutbox
from mika_ops.email.smtp.sender import SmtpSender
from mika_ops.store.database import Database
from mika_ops_testing.builders import put
from mika_ops_testing.conformance import EmailComposerConformance, EmailOutboxConformance, EmailSenderConformance
from mika_ops_testing.conformance.email_sender import RECIPIENT
from mika_ops_testing.fakes import Provider, outbox_of
from mika_ops_testing.smtp_server import free_port, mail_server
from mika_ops_tests.email.smtp.sending import sender as sender_of


def sender_whose_server_answers(answer: str) -> Iterator[SmtpSender]:
    with mail_server({"RCPT": [answer]}) as mailroom, sender_of(mailroom.port) as smtp:
        yield smtp


class TestSmtpSender(EmailSenderConformance):
    @pytest.fixture
    def sender(self) -> Iterator[SmtpSender]:
        with mail_server() as mailroom, sender_of(mailroom.port) as smtp:
            yield smtp

    @pytest.fixture
    def refused_sender(self) -> Iterator[SmtpSender]:
        yield from sender_whose_server_answers(f"550 5.1.1 <{RECIPIENT}>: no such user")

    @pytest.fixture
    def throttled_sender(self) -> Iterator[SmtpSender]:
        yield from sender_whose_server_answers("450 4.7.1 too many emails in this hour")

    @pytest.fixture
    def unreachable_sender(self) -> SmtpSender:
        return sender_of(free_port())


class TestFileSink(EmailSenderConformance):
    @pytest.fixture
    def sender(self, tmp_path: Path) -> FileSink:
        return FileSink(tmp_path, sender="Tea House <shop@shop.test>")


class TestEmailRenderer(EmailComposerConformance):
    @pytest.fixture
    def composer(self) -> EmailRenderer:
        return EmailRenderer(Brand())


class TestLeasedOutbox(EmailOutboxConformance):
    @pytest.fixture
    def make_outbox(self, database: Database) -> Callable[..., LeasedOutbox]:
        def make(*emails: Document) -> LeasedOutbox:
            if emails:
                put(database, "ops", *emails)
            return outbox_of(database, Provider())

        return make
