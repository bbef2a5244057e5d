"""The names of a shop's variables: a message names them through ``SettingNames``, never by a literal prefix."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import mika_ops
from mika_ops.assembly import open_shop_database, require_database_for_email
from mika_ops.config.errors import SettingsError
from mika_ops.config.executor import missing_requirement
from mika_ops.config.loading import isolated_settings, load_settings
from mika_ops.config.shop import Shop
from mika_ops.host.components import COMPONENTS
from mika_ops.setting_names import PREFIX, SettingNames
from mika_ops.store.errors import DatabaseError
from mika_ops.subtasks.registry import SUBTASKS
from mika_ops.subtasks.subtask import Subtask, skip_reason

PACKAGE = Path(mika_ops.__file__).parent
EU = SettingNames("MIKA_EU_")

NAMES_VARIABLES = ("config/", "setting_names.py", "demo/settings.py")
"""Where variables are read or named; ``demo`` reads two variables of its own, which no shop has."""


def messages_of(path: Path) -> Iterator[str]:
    """Yield the string literals of a module, without its docstrings: a click command's is its help text."""
    tree = ast.parse(path.read_text())
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.value


def test_no_message_has_the_prefix_of_variables_as_a_literal() -> None:
    found = [
        f"{place}: {text}"
        for path in sorted(PACKAGE.rglob("*.py"))
        if not (place := str(path.relative_to(PACKAGE))).startswith(NAMES_VARIABLES)
        for text in messages_of(path)
        if PREFIX in text
    ]
    assert found == []


@pytest.mark.parametrize("name", sorted(COMPONENTS))
def test_the_remedy_of_a_component_names_the_shops_variables(name: str) -> None:
    remedy = COMPONENTS[name].remedy(EU)

    assert "MIKA_EU_" in remedy
    assert remedy.replace("MIKA_EU_", "MIKA_") == COMPONENTS[name].remedy(SettingNames())


@pytest.mark.parametrize("subtask", SUBTASKS, ids=lambda subtask: subtask.name)
def test_a_skipped_subtask_names_the_shops_variables(subtask: Subtask) -> None:
    reason = skip_reason(subtask, (), EU)

    assert reason is not None
    assert "MIKA_EU_" in reason
    assert PREFIX not in reason.replace("MIKA_EU_", "")


@pytest.mark.parametrize(
    ("url", "variable"),
    [
        (None, "MIKA_EU_DATABASE_URL is not set"),
        ("sqlite://", "MIKA_EU_DATABASE_URL names no SQLite file"),
        ("sqlite:///missing.db", "set MIKA_EU_DATABASE_URL to the site's file"),
    ],
)
def test_a_database_that_cannot_be_opened_is_reported_by_the_shops_variable(url: str | None, variable: str) -> None:
    with pytest.raises((SettingsError, DatabaseError), match=variable):
        open_shop_database(Shop(isolated_settings(database_url=url), "eu"))


def test_emails_without_an_outbox_are_reported_by_the_shops_variable() -> None:
    with pytest.raises(SettingsError, match="MIKA_EU_DATABASE_URL"):
        require_database_for_email(Shop(isolated_settings(email_directory="out"), "eu"))


def test_a_celery_executor_without_a_broker_is_reported_by_the_shops_variables() -> None:
    missing = missing_requirement(isolated_settings(executor="celery"), EU)

    assert missing is not None
    assert missing.startswith("MIKA_EU_EXECUTOR=celery needs")


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"smtp_url": "smtp://mail.example", "email_directory": "out"}, "MIKA_EU_SMTP_URL and MIKA_EU_EMAIL_DIRECTORY"),
        ({"smtp_url": "smtp://mail.example"}, "MIKA_EU_SMTP_URL is set without MIKA_EU_EMAIL_FROM"),
        ({"smtp_username": "bob"}, "MIKA_EU_SMTP_USERNAME or MIKA_EU_SMTP_PASSWORD is set without MIKA_EU_SMTP_URL"),
        ({"smtp_url": "nonsense"}, "MIKA_EU_SMTP_URL does not name a mail server"),
        ({"email_reply_to": "nobody"}, "MIKA_EU_EMAIL_REPLY_TO is not one mail address"),
        ({"admin_api_url": "https://shop.example"}, "MIKA_EU_ADMIN_API_TOKEN is missing"),
        (
            {"email_lease_minutes": 1, "smtp_timeout_seconds": 60},
            "MIKA_EU_EMAIL_LEASE_MINUTES is too short for MIKA",
        ),
        ({"locale": "nowhere"}, "MIKA_EU_LOCALE: "),
    ],
)
def test_settings_that_are_not_valid_are_reported_by_the_shops_variables(
    given: dict[str, object], sentence: str
) -> None:
    with pytest.raises(SettingsError) as raised:
        load_settings(shop="eu", **given)

    assert str(raised.value).startswith(sentence)
    assert PREFIX not in str(raised.value).replace("MIKA_EU_", "")
