from pathlib import Path

import pytest

from mika_ops.assembly import configured_components, open_host
from mika_ops.clock import Clock
from mika_ops.config.loading import isolated_settings
from mika_ops.config.settings import Settings
from mika_ops.config.shop import Shop
from mika_ops.host.components import COMPONENTS
from mika_ops.host.host import Host
from mika_ops.store.database import Database
from mika_ops.store.errors import UnusableDatabase
from mika_ops.store.schema.own import own
from mika_ops.subtasks.registry import SUBTASKS
from mika_ops.subtasks.subtask import RunOptions, outcome_of
from mika_ops_testing.builders import email, get, put

FROM_DATABASE = {
    "ops",
    "account",
    "ledger",
    "session",
    "stock",
    "ephemeral",
    "acp_sessions",
    "reservation_release",
    "ephemeral_purge",
    "backlog",
}
ADMIN_API = {"admin_api_url": "http://127.0.0.1:1", "admin_api_token": "ec_pat_x"}


def present(host: Host) -> set[str]:
    return {name for name in COMPONENTS if getattr(host, name) is not None}


def assembled_components(settings: Settings) -> set[str]:
    with open_host(Shop(settings)) as host:
        return present(host)


def test_no_settings_make_a_host_with_nothing() -> None:
    assert assembled_components(isolated_settings()) == set()


def test_a_database_gives_all_but_the_outbox_and_the_admin_api(url: str) -> None:
    assert assembled_components(isolated_settings(database_url=url)) == FROM_DATABASE


def test_a_folder_for_emails_adds_the_outbox(url: str) -> None:
    settings = isolated_settings(database_url=url, email_directory=Path("emails"))

    assert assembled_components(settings) == FROM_DATABASE | {"email_outbox"}


def test_a_mail_server_adds_the_outbox_without_connecting_to_it(url: str) -> None:
    settings = isolated_settings(database_url=url, smtp_url="smtp://127.0.0.1:1", email_from="shop@example.test")

    assert assembled_components(settings) == FROM_DATABASE | {"email_outbox"}


def test_the_admin_api_needs_no_database() -> None:
    assert assembled_components(isolated_settings(**ADMIN_API)) == {"admin_api"}


def test_every_component_has_a_port_that_what_is_assembled_fits(url: str) -> None:
    settings = isolated_settings(database_url=url, email_directory=Path("emails"), **ADMIN_API)

    with open_host(Shop(settings)) as host:
        assert [
            name for name, component in COMPONENTS.items() if not isinstance(getattr(host, name), component.port)
        ] == []


def test_what_is_configured_is_known_without_opening_anything(url: str) -> None:
    for settings in (
        isolated_settings(),
        isolated_settings(database_url=url),
        isolated_settings(database_url=url, email_directory=Path("emails")),
        isolated_settings(**ADMIN_API),
    ):
        assert configured_components(Shop(settings)) == assembled_components(settings)


def test_a_site_without_our_tables_has_no_acp_sessions(database: Database, url: str) -> None:
    with database.engine.begin() as connection:
        own.drop_all(connection)

    assert assembled_components(isolated_settings(database_url=url)) == FROM_DATABASE - {"acp_sessions"}


def test_a_shop_that_cannot_be_opened_raises_with_what_to_do() -> None:
    with pytest.raises(UnusableDatabase, match=r"missing\.db does not exist .*: set MIKA_DATABASE_URL"):
        assembled_components(isolated_settings(database_url="sqlite:///missing.db"))


def test_opening_a_shop_changes_nothing_in_it(database: Database, url: str) -> None:
    put(database, "ops", email())
    before = get(database, "ops", "email_1")

    assembled_components(isolated_settings(database_url=url, email_directory=Path("emails")))

    assert get(database, "ops", "email_1") == before
    assert not Path("emails").exists()


def test_the_assembled_outbox_writes_emails_with_the_shops_name(database: Database, url: str, clock: Clock) -> None:
    put(database, "ops", email())
    settings = isolated_settings(database_url=url, email_directory=Path("emails"), site_name="The lamp shop")

    with open_host(Shop(settings)) as host:
        assert outcome_of(SUBTASKS[0], host, clock, RunOptions()).status == "completed"

    (written,) = Path("emails").glob("*.eml")
    assert "The lamp shop" in written.read_text()
    assert "mika-ops@localhost" in written.read_text()
