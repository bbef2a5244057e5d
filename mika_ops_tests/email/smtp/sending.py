"""Senders for a real mail server on this machine."""

from datetime import UTC, datetime
from typing import Any

import pytest

from mika_ops.email.smtp.errors import SendFailed
from mika_ops.email.smtp.sender import SmtpSender
from mika_ops_testing.smtp_server import Mailroom
from mika_ops_tests.email.builders import envelope

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def sender(port: int, *, scheme: str = "smtp", login: str = "", **options: Any) -> SmtpSender:
    url = f"{scheme}://{login}127.0.0.1:{port}"
    return SmtpSender(url, sender="Tea House <shop@shop.test>", now=lambda: NOON, **options)


def failure(mailroom: Mailroom, **fields: Any) -> SendFailed:
    """What is raised for one email."""
    with sender(mailroom.port) as smtp, pytest.raises(SendFailed) as raised:
        smtp.send(envelope(**fields))
    return raised.value
