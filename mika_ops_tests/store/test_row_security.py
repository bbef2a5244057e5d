"""Row-level security: Postgres refuses what it would otherwise hide, so that nothing looks as if nothing were due."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, create_engine, make_url, text

from mika_ops.config.loading import isolated_settings
from mika_ops.config.shop import Shop
from mika_ops.doctor.diagnosis import diagnose
from mika_ops.store.database import Database
from mika_ops.store.errors import DatabaseError, UnusableDatabase
from mika_ops.store.opening import open_database
from mika_ops_testing.builders import email, put

pytestmark = pytest.mark.parametrize("kind", ["postgres"], indirect=True)

REFUSED = (
    'the shop\'s database: query would be affected by row-level security policy for table "{}", which hides rows of '
    "the shop from maintenance: ALTER ROLE … BYPASSRLS for this user, or use the owner of the tables"
)


@pytest.fixture
def role_url(url: str) -> Iterator[str]:
    """Return the URL by which a user logs in who has all rights and no say over policies."""
    administer(url, "DROP ROLE IF EXISTS guest", "CREATE ROLE guest LOGIN")
    administer(url, "GRANT ALL ON ALL TABLES IN SCHEMA public TO guest")
    yield make_url(url).set(username="guest").render_as_string(hide_password=False)
    administer(url, "DROP OWNED BY guest", "DROP ROLE guest")


def administer(url: str, *statements: str) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


def hide(url: str, table: str) -> None:
    administer(url, f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")


def test_hidden_documents_are_refused_and_never_nothing_due(url: str, role_url: str) -> None:
    with open_database(url) as database:
        put(database, "ops", email())
    hide(url, "_plugin_storage")

    with pytest.raises(UnusableDatabase) as raised:
        open_database(role_url)
    assert str(raised.value) == REFUSED.format("_plugin_storage")


def test_a_policy_that_shows_a_part_is_refused_as_well(url: str, role_url: str) -> None:
    hide(url, "_plugin_storage")
    administer(url, "CREATE POLICY a_part ON _plugin_storage USING (collection = 'ops')")

    with pytest.raises(UnusableDatabase, match="BYPASSRLS"):
        open_database(role_url)


def test_hidden_rows_are_refused_to_whoever_reads_and_writes(url: str, role_url: str) -> None:
    hide(url, "mika_stock_events")

    def change(connection: Connection) -> None:
        connection.execute(text("UPDATE mika_stock_events SET status = 'expired'"))

    with open_database(role_url) as opened:
        with pytest.raises(DatabaseError) as reading, opened.reading() as connection:
            connection.execute(text("SELECT count(*) FROM mika_stock_events"))
        with pytest.raises(DatabaseError) as writing:
            opened.write(change)
    assert str(reading.value) == str(writing.value) == REFUSED.format("mika_stock_events")


def test_the_doctor_names_the_table_and_the_remedy(url: str, role_url: str) -> None:
    hide(url, "mika_stock_events")

    results = {each.name: each for each in diagnose(Shop(isolated_settings(database_url=role_url))).results}
    assert results["reading"].status == "broken"
    assert REFUSED.format("mika_stock_events") in results["reading"].sentence


def test_a_user_who_bypasses_policies_and_the_owner_see_all(url: str, role_url: str) -> None:
    with open_database(url) as database:
        put(database, "ops", email())
    hide(url, "_plugin_storage")
    administer(url, "ALTER ROLE guest BYPASSRLS")

    for each in (url, role_url):
        with open_database(each) as opened, opened.reading() as connection:
            assert connection.execute(text("SELECT count(*) FROM _plugin_storage")).scalar_one() == 1


def test_the_setting_ends_with_the_transaction(database: Database) -> None:
    """Behind a pooler, the connection is another client's afterwards."""
    with database.engine.connect() as connection:
        connection.execute(text("SELECT 1"))
        connection.commit()
        driver = connection.connection.driver_connection
        assert driver is not None
        assert driver.execute("SHOW row_security").fetchone() == ("on",)
