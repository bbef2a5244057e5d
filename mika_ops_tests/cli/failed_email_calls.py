"""Calls of the commands about failed emails, and what they print."""

import json
from collections.abc import Callable
from typing import Any

from click.testing import Result

from mika_ops.documents.document import Document
from mika_ops.store.database import Database
from mika_ops_testing.builders import documents_of, email

LONG_AGO = "2001-01-01T00:00:00.000Z"


FAR_OFF = "2999-01-01T00:00:00.000Z"


Call = Callable[..., Result]


def failed_email(id_: str = "email_1", /, *, top: Document | None = None, **record: Any) -> Document:
    """Return an email that failed permanently."""
    failure = {"status": "failed", "attemptCount": 5, "maxAttempts": 5, "lastError": "550 no such mailbox"}
    return email(id_, top=top, **{**failure, **record})


def listed(result: Result) -> list[dict[str, Any]]:
    assert result.exit_code == 0
    return [json.loads(line) for line in result.stdout.splitlines()]


def ids_in(result: Result) -> list[str]:
    return [letter["id"] for letter in listed(result)]


def with_status(database: Database, status: str) -> list[str]:
    return sorted(id_ for id_, document in documents_of(database, "ops").items() if document["status"] == status)
