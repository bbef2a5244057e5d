"""Opening a site's database: every sentence that says why it is none, and that looking changes nothing."""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, NullPool, create_engine, inspect, make_url, text

from mika_ops.store import opening as opening_module
from mika_ops.store.errors import DatabaseError, UnusableDatabase
from mika_ops.store.opening import open_database
from mika_ops.store.schema.own import acp_sessions, own
from mika_ops.store.schema.site import plugin_storage, site
from mika_ops_testing.builders import email, put
from mika_ops_testing.sites import DatabaseKind, Sites

SECRET = "geheim-123"


@pytest.fixture
def bare(kind: DatabaseKind, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """Return an empty database, which is nobody's site."""
    if kind == "sqlite":
        url = f"sqlite:///{tmp_path / 'bare.db'}"
    else:
        made: Sites = request.getfixturevalue("postgres_sites")
        url = made.new()
    engine = create_engine(url)
    with engine.begin() as connection:
        if kind == "postgres":
            connection.execute(text("DROP SCHEMA public CASCADE"))
            connection.execute(text("CREATE SCHEMA public"))
        else:
            connection.execute(text("CREATE TABLE something_else (id text)"))
    yield engine
    engine.dispose()


def test_a_connection_that_is_lost_while_a_site_is_opened_is_made_again(
    postgres_sites: Sites, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = 0
    look = opening_module._require_site

    def cut(connection: Connection, *rest: Any) -> None:
        nonlocal lost
        if not lost:
            lost += 1
            connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
        look(connection, *rest)

    monkeypatch.setattr(opening_module, "_require_site", cut)

    with open_database(postgres_sites.new()) as opened:
        assert opened.has_acp_sessions
    assert lost


def refusal(url: str, plugin_id: str = "mika") -> str:
    """Return the sentence with which a database is refused."""
    with pytest.raises(UnusableDatabase) as raised, open_database(url, plugin_id=plugin_id):
        raise AssertionError("it must not open")
    sentence = str(raised.value)
    assert "\n" not in sentence
    return sentence


def url_of(engine: Engine) -> str:
    return engine.url.render_as_string(hide_password=False)


def tables(engine: Engine) -> set[str]:
    return set(inspect(engine).get_table_names())


def test_a_site_is_opened(url: str, kind: DatabaseKind) -> None:
    with open_database(url) as database:
        assert database.dialect == {"sqlite": "sqlite", "postgres": "postgresql"}[kind]
        assert database.plugin_id == "mika"
        assert database.has_acp_sessions


@pytest.mark.parametrize("kind", ["postgres"], indirect=True)
@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg2"])
def test_postgres_is_reached_by_psycopg_however_its_url_is_spelled(scheme: str, url: str) -> None:
    spelled = url.replace("postgresql+psycopg://", f"{scheme}://")
    with open_database(spelled) as database:
        assert database.engine.dialect.driver == "psycopg"


def test_a_site_without_our_tables_has_no_acp_sessions(url: str) -> None:
    engine = create_engine(url)
    own.drop_all(engine)
    engine.dispose()
    with open_database(url) as database:
        assert not database.has_acp_sessions


@pytest.mark.parametrize("wrong", ["", "shop.db", "not a url", "/var/lib/data.db"])
def test_what_is_no_url_is_refused(wrong: str) -> None:
    assert refusal(wrong).startswith("MIKA_DATABASE_URL is not a database URL: write sqlite:///")


@pytest.mark.parametrize("scheme", ["mysql", "mongodb", "libsql", "mysql+pymysql"])
def test_another_kind_of_database_is_refused_by_name(scheme: str) -> None:
    sentence = refusal(f"{scheme}://user:{SECRET}@host/shop")
    assert sentence.startswith(f"MIKA_DATABASE_URL names a {scheme.partition('+')[0]} database;")
    assert SECRET not in sentence


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", "sqlite:///:memory:"])
def test_a_database_in_memory_is_refused(url: str) -> None:
    assert refusal(url) == "MIKA_DATABASE_URL names no SQLite file: write sqlite:///path/to/data.db"


def test_a_missing_file_is_named_and_not_created(tmp_path: Path) -> None:
    missing = tmp_path / "nowhere" / "shop.db"
    assert f"the SQLite file {missing} does not exist (seen from {Path.cwd()})" in refusal(f"sqlite:///{missing}")
    assert list(tmp_path.rglob("*")) == []


def test_a_relative_path_is_shown_with_where_it_is_looked_for(tmp_path: Path) -> None:
    assert f"the SQLite file shop.db does not exist (seen from {tmp_path})" in refusal("sqlite:///shop.db")
    assert not Path("shop.db").exists()


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    assert "does not exist" in refusal(f"sqlite:///{tmp_path}")


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_a_file_that_vanishes_is_not_created_again(url: str) -> None:
    path = Path(str(make_url(url).database))
    with open_database(url) as database:
        database.engine.dispose()
        path.unlink()
        with pytest.raises(DatabaseError, match="unable to open database file"), database.reading():
            pass
    assert not path.exists()


def test_a_file_that_is_no_database_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "shop.db"
    path.write_bytes(b"this is a text" * 100)
    assert refusal(f"sqlite:///{path}") == "the shop's database: file is not a database"
    assert path.read_bytes() == b"this is a text" * 100
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_a_file_with_signs_in_its_name_is_opened(url: str, tmp_path: Path) -> None:
    path = tmp_path / "my shop? 100% #1.db"
    path.write_bytes(Path(str(make_url(url).database)).read_bytes())
    sqlalchemy_url = make_url("sqlite://").set(database=str(path))
    with open_database(sqlalchemy_url.render_as_string()) as database:
        put(database, "ops", email())
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_a_database_without_emdash_is_refused(bare: Engine) -> None:
    before = tables(bare)
    assert refusal(url_of(bare)) == (
        "the database has no table _plugin_storage: it is not an EmDash site's; check MIKA_DATABASE_URL"
    )
    assert tables(bare) == before


def test_an_emdash_site_without_mika_is_refused_by_the_tables_it_lacks(bare: Engine) -> None:
    site.create_all(bare, [plugin_storage, site.tables["_plugin_indexes"], site.tables["mika_stock_items"]])
    before = tables(bare)
    sentence = refusal(url_of(bare))
    assert sentence.startswith("the database has no table mika_ephemeral_records, mika_stock_events: ")
    assert "migrations have not run" in sentence
    assert tables(bare) == before


def test_a_site_whose_mika_has_another_plugin_id_is_refused_and_the_id_is_named(url: str) -> None:
    with open_database(url, plugin_id="shop-mika") as database:
        put(database, "ops", email())
    assert refusal(url) == (
        "the database has no documents of plugin id 'mika', but has some of 'shop-mika': "
        "set MIKA_PLUGIN_ID to the one that is Mika's"
    )


def test_another_plugin_beside_mika_is_no_reason_to_refuse(url: str) -> None:
    with open_database(url, plugin_id="other") as database:
        put(database, "ops", email())
        with database.engine.begin() as connection:
            connection.execute(text("UPDATE _plugin_storage SET collection = 'posts'"))
    with open_database(url) as database:
        assert database.plugin_id == "mika"


def test_a_new_site_without_any_document_is_opened(url: str) -> None:
    with open_database(url, plugin_id="whatever") as database:
        assert database.plugin_id == "whatever"


def test_opening_changes_nothing(url: str) -> None:
    engine = create_engine(url)
    before = tables(engine)
    engine.dispose()
    with open_database(url) as database:
        assert tables(database.engine) == before
        assert acp_sessions.name in before


def test_a_server_that_is_not_there_is_reported_without_the_password() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        sentence = refusal(f"postgresql://mika:{SECRET}@127.0.0.1:{port}/shop")
    assert sentence.startswith("the shop's database: ")
    assert f"port {port} failed: Connection refused" in sentence
    assert SECRET not in sentence


@pytest.mark.parametrize("kind", ["postgres"], indirect=True)
def test_a_wrong_password_is_reported_and_not_shown(url: str) -> None:
    with password_wanted(url, "mika_locked_out"):
        wrong = make_url(url).set(username="mika_locked_out", password=SECRET)
        sentence = refusal(wrong.render_as_string(hide_password=False))
    assert 'password authentication failed for user "mika_locked_out"' in sentence
    assert SECRET not in sentence


@pytest.mark.parametrize("kind", ["postgres"], indirect=True)
def test_a_database_that_is_not_on_the_server_is_named(url: str) -> None:
    sentence = refusal(make_url(url).set(database="nowhere").render_as_string(hide_password=False))
    assert 'database "nowhere" does not exist' in sentence


@contextmanager
def password_wanted(url: str, role: str) -> Iterator[None]:
    """Have the server ask a new role for a password."""
    engine = create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        connection.execute(text(f"DROP ROLE IF EXISTS {role}"))
        connection.execute(text(f"CREATE ROLE {role} LOGIN PASSWORD 'right'"))
        rules = Path(connection.execute(text("SHOW hba_file")).scalar_one())
    before = rules.read_text()
    try:
        rules.write_text(f"local all {role} scram-sha-256\n{before}")
        reload(engine)
        yield
    finally:
        rules.write_text(before)
        reload(engine)


def reload(engine: Engine) -> None:
    """Have the server read its configuration again, and wait until new connections come under it."""

    def loaded_at() -> datetime:
        with engine.connect() as connection:
            moment: datetime = connection.execute(text("SELECT pg_conf_load_time()")).scalar_one()
        return moment

    before = loaded_at()
    with engine.connect() as connection:
        connection.execute(text("SELECT pg_reload_conf()"))
    while loaded_at() == before:
        time.sleep(0.01)
