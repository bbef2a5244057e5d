"""Database URLs as sites have them: what each form means, and that no message quotes a part of a password."""

import logging
import traceback
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from psycopg.pq import Conninfo

from mika_ops.config.errors import SettingsError
from mika_ops.config.loading import load_settings
from mika_ops.config.shop import Shop
from mika_ops.doctor.diagnosis import diagnose
from mika_ops.setting_names import SettingNames
from mika_ops.store.database_url import InvalidDatabaseUrl, read_database_url
from mika_ops.store.errors import UnusableDatabase
from mika_ops.store.opening import engine_for, open_database
from mika_ops_testing.sites import Sites


def libpq(url: str) -> dict[str, Any]:
    """Return the parameters with which libpq would be called, but for those that mika-ops adds."""
    engine = engine_for(url)
    _, parameters = engine.dialect.create_connect_args(engine.url)
    return {name: value for name, value in parameters.items() if name != "context"}


def refusal(url: str) -> str:
    with pytest.raises(InvalidDatabaseUrl) as raised:
        read_database_url(url)
    return str(raised.value)


PLAIN = {"host": "db.example", "dbname": "shop", "user": "mika", "password": "secret"}


@pytest.mark.parametrize(
    ("url", "parameters"),
    [
        ("postgresql://mika:secret@db.example/shop", PLAIN),
        ("postgres://mika:secret@db.example/shop", PLAIN),
        ("POSTGRES://mika:secret@db.example/shop", PLAIN),
        ("postgresql+asyncpg://mika:secret@db.example/shop", PLAIN),
        ("  postgresql://mika:secret@db.example/shop\r\n", PLAIN),
        ("postgresql://mika:secret@db.example:5433/shop", PLAIN | {"port": 5433}),
        ("postgresql://mika:secret@db.example:/shop", PLAIN),
        ("postgresql://mika@db.example/shop", {"host": "db.example", "dbname": "shop", "user": "mika"}),
        ("postgresql://db.example/shop", {"host": "db.example", "dbname": "shop"}),
        ("postgresql:///shop", {"dbname": "shop"}),
        ("postgresql://[::1]:5433/shop", {"host": "::1", "port": 5433, "dbname": "shop"}),
        ("postgresql://mika:p%40s%2Fs%3Aw%25@db.example/shop", PLAIN | {"password": "p@s/s:w%"}),
        ("postgresql://mika:a:b+c!d@db.example/shop", PLAIN | {"password": "a:b+c!d"}),
        ("postgresql://m%40ika:pässe@db.example/shop", PLAIN | {"user": "m@ika", "password": "pässe"}),
        ("postgresql:///shop?user=mika&password=secret&host=db.example", PLAIN),
        ("postgresql://%2Fvar%2Frun%2Fpostgresql/shop", {"host": "/var/run/postgresql", "dbname": "shop"}),
        ("postgresql:///shop?host=/var/run/postgresql", {"host": "/var/run/postgresql", "dbname": "shop"}),
        (
            "postgresql://mika:secret@localhost:5433/shop?host=%2Fvar%2Frun%2Fpostgresql",
            PLAIN | {"host": "/var/run/postgresql", "port": "5433"},
        ),
        ("postgresql://a.example:5432,b.example:5433/shop", {"host": "a.example,b.example", "port": "5432,5433"}),
        ("postgresql://a.example,b.example:5433/shop", {"host": "a.example,b.example", "port": ",5433"}),
        ("postgresql://a.example,b.example/shop?port=6000", {"host": "a.example,b.example", "port": "6000,6000"}),
        ("postgresql://[::1]:1,[::2]:2/shop", {"host": "::1,::2", "port": "1,2"}),
        (
            "postgresql://a.example,b.example/shop?target_session_attrs=read-write",
            {"host": "a.example,b.example", "port": ",", "target_session_attrs": "read-write"},
        ),
    ],
)
def test_a_url_means_what_it_means_to_libpq(url: str, parameters: dict[str, Any]) -> None:
    assert libpq(url) == {"dbname": "shop", **parameters}


@pytest.mark.parametrize(
    ("options", "parameters"),
    [
        ("sslmode=require&channel_binding=require", {"sslmode": "require", "channel_binding": "require"}),
        ("sslmode=no-verify", {"sslmode": "require"}),
        ("ssl=true", {"sslmode": "require"}),
        ("ssl=1", {"sslmode": "require"}),
        ("ssl=no-verify", {"sslmode": "require"}),
        ("ssl=require", {"sslmode": "require"}),
        ("ssl=false", {"sslmode": "disable"}),
        ("ssl=true&sslmode=verify-full&sslrootcert=system", {"sslmode": "verify-full", "sslrootcert": "system"}),
        ("uselibpqcompat=true&sslmode=require", {"sslmode": "require"}),
        ("client_encoding=latin1", {}),
        ("pgbouncer=true", {}),
        ("schema=store", {}),
        ("connect_timeout=30", {"connect_timeout": "30"}),
        ("application_name=site", {"application_name": "site"}),
        ("options=-c%20search_path%3Dstore", {"options": "-c search_path=store"}),
        ("options=endpoint%3Dep-1", {"options": "endpoint=ep-1"}),
        ("", {}),
    ],
)
def test_options_of_other_clients_have_their_meaning_in_libpq(options: str, parameters: dict[str, str]) -> None:
    assert libpq(f"postgresql://mika:secret@db.example/shop?{options}") == PLAIN | parameters


@pytest.mark.parametrize("option", [option.keyword.decode() for option in Conninfo.get_defaults()])
def test_every_option_of_libpq_is_accepted(option: str) -> None:
    values = {"sslmode": "require", "port": "5432", "replication": "false"}
    read_database_url(f"postgresql://db.example/shop?{option}={values.get(option, 'value')}")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ("connection_limit=5", "the option connection_limit, which has no meaning here: it sets up Prisma's"),
        ("pgbouncer=true&connection_limit=1", "the option connection_limit, which has no meaning here"),
        ("pool_timeout=0", "the option pool_timeout, which has no meaning here: it sets up the connection pool"),
        ("idleTimeoutMillis=5", "the option idleTimeoutMillis, which has no meaning here"),
        ("statement_timeout=5", "the option statement_timeout, which has no meaning here: mika-ops limits each"),
        ("sslaccept=strict", "write sslmode=verify-full for strict"),
        ("sslidentity=a.p12", "write sslcert=… and sslkey=…"),
        ("search_path=store", "write schema=… instead"),
        ("sslmod=require", "the option sslmod, which libpq does not have: did you mean sslmode?"),
        ("supa=base-pooler.x", "the option supa, which libpq does not have: remove it"),
        ("sslmode=on", "a value of sslmode that is none: write sslmode= with one of disable, allow, prefer"),
        ("ssl=%7B%22rejectUnauthorized%22%3Afalse%7D", "a value of ssl that is none"),
        ("schema=a%22b", "an option schema that is no name of a schema"),
        ("host=a.example&host=b.example", "an option twice"),
    ],
)
def test_an_option_without_a_meaning_is_named_with_the_way_out(options: str, sentence: str) -> None:
    message = refusal(f"postgresql://mika:secret@db.example/shop?{options}")

    assert message.startswith("MIKA_DATABASE_URL has ")
    assert sentence in message


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("postgresql://db.example:port/shop", "has a port that is no number from 1 to 65535"),
        ("postgresql://db.example:0/shop", "has a port that is no number from 1 to 65535"),
        ("postgresql://db.example:99999/shop", "has a port that is no number from 1 to 65535"),
        ("postgresql://db.example/shop?port=x", "has a port that is no number from 1 to 65535"),
        ("postgresql://a,b,c/shop?port=1,2", "has 3 hosts and 2 ports: give each host its own"),
        ("postgresql://a:1:2/shop", "has a port that is no number from 1 to 65535"),
        ("postgresql://[::1/shop", "has a host that cannot be read"),
        ("postgresql://db.example/sh\nop", "has a character that cannot be printed"),
        ("postgresql://mika:%FF@db.example/shop", "has a part that is not UTF-8"),
        ("postgresql:/db.example/shop", "is not a database URL"),
        ("mysql://mika:secret@db.example/shop", "names a mysql database"),
    ],
)
def test_what_cannot_be_read_is_reported(url: str, sentence: str) -> None:
    assert refusal(url).startswith(f"MIKA_DATABASE_URL {sentence}")


def test_the_variable_of_the_shop_is_named() -> None:
    with pytest.raises(InvalidDatabaseUrl, match="MIKA_EU_DATABASE_URL is not a database URL"):
        read_database_url("shop.db", SettingNames("MIKA_EU_"))


AMBIGUOUS = "MIKA_DATABASE_URL is ambiguous: percent-encode the user and the password (@ is %40, / is %2F, "


@pytest.mark.parametrize(
    "password", ["c@dour-correct-horse/battery", "dour@horse", "dour/horse", "dour?horse=1", "dour#horse", "100%dour"]
)
def test_an_unencoded_password_is_refused_everywhere_and_never_quoted(
    password: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"postgresql://mika:{password}@db.example/shop"
    monkeypatch.setenv("MIKA_DATABASE_URL", url)
    said = []
    with caplog.at_level(logging.DEBUG):
        with pytest.raises(SettingsError) as refused_setting:
            load_settings()
        with pytest.raises(UnusableDatabase) as refused_opening:
            open_database(url)
        unchecked = load_settings(database_url="sqlite:///shop.db").model_copy(update={"database_url": _secret(url)})
        said += [str(result) for result in diagnose(Shop(unchecked)).results]
    for raised in (refused_setting, refused_opening):
        assert str(raised.value).startswith(AMBIGUOUS)
        said += traceback.format_exception(raised.value)
        said += [repr(each) for each in chained(raised.value)]

    printed = capsys.readouterr()
    for text in (*said, caplog.text, printed.out, printed.err):
        assert "dour" not in text
        assert "horse" not in text


def _secret(text: str) -> Any:
    from pydantic import SecretStr

    return SecretStr(text)


def chained(error: BaseException) -> list[BaseException]:
    """Return an error with all that it was raised from or beside."""
    found: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting:
        each = waiting.pop()
        if each is not None and each not in found:
            found.append(each)
            waiting += [each.__cause__, each.__context__]
    return found


WORD = "ZQXJ"
"""In every password below and in none of our sentences."""

passwords = st.lists(
    st.one_of(st.sampled_from([*"@/:?#&=%[],;+ \\\"'", "%4", "%40", "\n", "://"]), st.text(max_size=4)), max_size=8
).map(lambda parts: WORD + WORD.join([*parts, ""]))


@given(password=passwords, host=st.sampled_from(["db.example", "[::1]:5433", "a.example:1,b.example", ""]))
@example(password=f"{WORD}@{WORD}/{WORD}", host="db.example")
@example(password=f"{WORD}/{WORD}:{WORD}", host="db.example")
@example(password=f"{WORD}?{WORD}={WORD}", host="db.example")
def test_a_password_is_read_whole_or_refused_without_any_of_it(password: str, host: str) -> None:
    """As it is, it may be refused, or mean what percent-decoding makes of it; encoded, it is always read."""
    unencoded = f"postgresql://mika:{password}@{host}/shop"
    try:
        url = read_database_url(unencoded).url
    except InvalidDatabaseUrl as refused:
        assert all(WORD not in f"{each} {each!r}" for each in chained(refused))  # noqa: PT017 - or it is read
    else:
        assert WORD in str(url.password)
        assert WORD not in str(url.set(password=None))
        assert "@" not in password
    if "\0" not in password:
        encoded = f"postgresql://mika:{quote(password, safe='')}@{host}/shop"
        assert read_database_url(encoded).url.password == password


@given(password=passwords)
def test_a_password_among_the_options_is_read_or_refused_without_any_of_it(password: str) -> None:
    try:
        url = read_database_url(f"postgresql://db.example/shop?user=mika&password={password}").url
    except InvalidDatabaseUrl as refused:
        assert all(WORD not in f"{each} {each!r}" for each in chained(refused))  # noqa: PT017 - or it is read
    else:
        assert WORD not in str(url.set(password=None))


@pytest.mark.parametrize("kind", ["postgres"], indirect=True)
def test_the_schema_of_prisma_is_where_the_tables_are_looked_for(url: str, postgres_sites: Sites) -> None:
    with open_database(url) as database, database.engine.begin() as connection:
        connection.exec_driver_sql("ALTER SCHEMA public RENAME TO store")
        connection.exec_driver_sql("CREATE SCHEMA public")
    with pytest.raises(UnusableDatabase, match="no table _plugin_storage"):
        open_database(url)
    with open_database(f"{url}&schema=store") as database:
        assert database.has_acp_sessions
