"""Fixtures of the commands about failed emails."""

import pytest
from click.testing import CliRunner, Result

from mika_ops.cli import failed_emails
from mika_ops.cli.main import main
from mika_ops.store.database import Database
from mika_ops_testing.builders import documents_of
from mika_ops_tests.cli.failed_email_calls import Call


@pytest.fixture
def call(url: str, database: Database) -> Call:
    """Call ``mika-ops email`` on the shop; whatever it says is searched for addresses."""

    def called(*arguments: str, answer: str | None = None) -> Result:
        environment = {"MIKA_DATABASE_URL": url, "LOGNAME": "grace"}
        result = CliRunner().invoke(main, ["email", *arguments], input=answer, env=environment)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        said = result.output + result.stderr
        for document in documents_of(database, "ops").values():
            address = document["record"].get("toEmail") if isinstance(document.get("record"), dict) else None
            assert not address or address not in said
        return result

    return called


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have somebody sit at the terminal."""
    monkeypatch.setattr(failed_emails, "at_a_terminal", lambda: True)
