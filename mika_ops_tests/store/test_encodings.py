"""Postgres databases that are not UTF-8: texts are right, whatever encoding a database, a role or a server asks for."""

import json
from collections.abc import Iterator

import psycopg
import pytest
from sqlalchemy import create_engine, make_url, text

from mika_ops.clock import utc_now
from mika_ops.config.loading import isolated_settings
from mika_ops.config.shop import Shop
from mika_ops.documents.document import Document
from mika_ops.documents.repository import Change
from mika_ops.orchestration.run_once import run_once
from mika_ops.store.database import Database
from mika_ops.store.documents import Documents
from mika_ops.store.opening import open_database
from mika_ops.timestamps import to_timestamp
from mika_ops_testing.builders import documents_of, order, put_raw
from mika_ops_testing.shop_at_work import shop_at_work
from mika_ops_testing.sites import PostgresSites, lay_out

BUYER = "Zoë Müller, Ærøskøbing"
"""In each of the encodings."""

SAID = "it’s – 十"
"""What a server may say: in UTF-8 only."""


@pytest.fixture(params=["SQL_ASCII", "LATIN1", "WIN1252", "UTF8"])
def encoding(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def encoded_url(encoding: str, postgres_sites: PostgresSites) -> Iterator[str]:
    """Return the URL of a site in a database of an encoding, which its clients are to use as well, or LATIN1."""
    server = create_engine(postgres_sites.server_url, isolation_level="AUTOCOMMIT")
    name = f"encoded_{encoding.lower()}"
    with server.connect() as connection:
        connection.execute(text(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
        connection.execute(
            text(
                f"CREATE DATABASE {name} ENCODING '{encoding}' LOCALE_PROVIDER libc LC_COLLATE 'C' LC_CTYPE 'C' "
                "TEMPLATE template0"
            )
        )
        asked_for = "LATIN1" if encoding == "UTF8" else encoding
        connection.execute(text(f"ALTER DATABASE {name} SET client_encoding = '{asked_for}'"))
    url = make_url(postgres_sites.server_url).set(database=name).render_as_string(hide_password=False)
    lay_out(f"{url}&client_encoding=utf8")
    yield url
    with server.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    server.dispose()


def put_order(database: Database, id_: str) -> None:
    """Store an order as the site does, with its characters as they are."""
    document = order(id_, customer={"name": BUYER})
    put_raw(database, "ledger", (id_, json.dumps(document, ensure_ascii=False)))


def test_texts_are_read_and_written_as_they_are(encoded_url: str) -> None:
    def rule(_id: str, document: Document) -> Change[None]:
        return Change({**document, "copy": document["aggregate"]["customer"]["name"]}, None)

    with open_database(encoded_url) as database:
        put_order(database, "order_1")
        assert Documents(database, "ledger").change(["order_1"], rule).malformed == {}
        document = documents_of(database, "ledger")["order_1"]

    assert document["copy"] == document["aggregate"]["customer"]["name"] == BUYER


def test_a_character_that_the_database_does_not_hold_is_replaced_where_maintenance_adds_it(
    encoded_url: str, encoding: str
) -> None:
    def rule(_id: str, document: Document) -> Change[None]:
        return Change({**document, "said": SAID}, None)

    with open_database(encoded_url) as database:
        put_order(database, "order_1")
        assert Documents(database, "ledger").change(["order_1"], rule).malformed == {}
        document = documents_of(database, "ledger")["order_1"]

    assert document["said"] == {"LATIN1": "it?s ? ?", "WIN1252": "it’s – ?"}.get(encoding, SAID)
    assert document["aggregate"]["customer"]["name"] == BUYER


@pytest.mark.parametrize("encoding", ["SQL_ASCII"], indirect=True)
def test_a_document_that_is_not_utf8_is_named_and_left_alone(encoded_url: str) -> None:
    def rule(_id: str, document: Document) -> Change[None]:
        return Change({**document, "said": "ok"}, None)

    with open_database(encoded_url) as database:
        put_order(database, "order_1")
        put_order(database, "order_2")
        with psycopg.connect(encoded_url.replace("+psycopg", ""), client_encoding="SQL_ASCII") as connection:
            data = json.dumps(order("order_1", customer={"name": BUYER}), ensure_ascii=False).encode("latin-1")
            connection.execute(
                "UPDATE _plugin_storage SET data = convert_from(%s, 'SQL_ASCII') WHERE id = 'order_1'", [data]
            )
        changes = Documents(database, "ledger").change(["order_1", "order_2"], rule)

    assert list(changes.changed) == ["order_2"]
    assert list(changes.malformed) == ["order_1"]


@pytest.mark.thorough
def test_all_of_maintenance_is_done(encoded_url: str) -> None:
    with shop_at_work(encoded_url) as world:
        report = run_once(Shop(isolated_settings(**world.settings)), now=to_timestamp(utc_now()))

        assert report.errors == {}
        assert world.broken_promises(interruptions=0) == []
