"""Reading ``MIKA_DATABASE_URL``: what a site's own configuration says, as node-postgres, Prisma or libpq write it.

A password that is not percent-encoded makes a URL ambiguous: a part of it then stands where a host, a port or an option
is read. Such a URL is refused as a whole, and no message quotes any of it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Final
from urllib.parse import unquote_to_bytes

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from mika_ops.setting_names import PLAIN_NAMES, SettingNames

_FORM: Final = "write sqlite:///path/to/data.db or postgresql://user:password@host:5432/name"
_ENCODE: Final = (
    "percent-encode the user and the password (@ is %40, / is %2F, : is %3A, ? is %3F, # is %23, & is %26, % is %25)"
)

_SSL_MODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_SSL: Final[Mapping[str, str]] = {
    **{mode: mode for mode in _SSL_MODES},
    "true": "require",
    "1": "require",
    "no-verify": "require",
    "false": "disable",
    "0": "disable",
}
"""``sslmode`` by the values of node-postgres' ``ssl`` and ``sslmode``. libpq reads ``ssl=true`` so itself."""

_ALREADY_SO: Final = frozenset({"uselibpqcompat", "client_encoding", "encoding"})
"""Options that ask for what is done anyway: libpq's meaning of ``sslmode``, and texts in UTF-8."""

_OF_THE_POOL: Final = "it sets up the connection pool of another client: remove it"
_OUR_LIMITS: Final = "mika-ops limits each transaction itself: remove it"
_WAYS_OUT: Final[Mapping[str, str]] = {
    "connection_limit": "it sets up Prisma's connection pool: remove it; ALTER ROLE … CONNECTION LIMIT limits a user",
    **dict.fromkeys(
        ("pool_timeout", "socket_timeout", "statement_cache_size", "max_connection_lifetime"), _OF_THE_POOL
    ),
    **dict.fromkeys(("max", "min", "max_idle_connection_lifetime", "single_use_connections"), _OF_THE_POOL),
    **dict.fromkeys(("idle_timeout", "idletimeoutmillis", "connectiontimeoutmillis", "pool_size"), _OF_THE_POOL),
    **dict.fromkeys(("statement_timeout", "lock_timeout", "query_timeout"), _OUR_LIMITS),
    "idle_in_transaction_session_timeout": _OUR_LIMITS,
    "sslaccept": "write sslmode=verify-full for strict, or sslmode=require for accept_invalid_certs",
    "sslidentity": "write sslcert=… and sslkey=…, with PEM files",
    **dict.fromkeys(("search_path", "currentschema"), "write schema=… instead"),
}
"""Known options of other clients that have no meaning here, by lower-case name, and what to do about each."""

_SECRET_OPTIONS: Final = frozenset(
    {"password", "sslpassword", "scram_client_key", "scram_server_key", "oauth_client_secret"}
)
_SCHEMA: Final = re.compile(r"[A-Za-z_][\w$-]*")
_HOST: Final = re.compile(r"(?:\[(?P<v6>[^\[\]]*)\]|(?P<host>[^\[\]:]*))(?::(?P<port>.*))?")
_BAD_PERCENT: Final = re.compile(r"%(?![0-9A-Fa-f]{2})|%00")


class InvalidDatabaseUrl(ValueError):
    """A URL of no database that can be used. The message names the variable and quotes nothing that may be secret."""


@dataclass(frozen=True)
class DatabaseUrl:
    """Where a database is.

    ``schema``: the Postgres schema of the site's tables, where the URL names one. ``pooled``: the URL says that
    connections are a pooler's, on which no statement can be prepared.
    """

    url: URL
    schema: str | None = None
    pooled: bool = False


def read_database_url(text: str, names: SettingNames = PLAIN_NAMES) -> DatabaseUrl:
    """Read a database URL. White space around it is ignored, as a file or a copy leaves a line break at its end.

    Raises ``InvalidDatabaseUrl`` for one that cannot be used.
    """
    setting, text = names("database_url"), text.strip()
    scheme, separator, rest = text.partition("://")
    backend = scheme.lower().partition("+")[0]
    if backend in ("postgres", "postgresql") and separator:
        return _PostgresUrl(rest, setting).read()
    # Of another kind of database, only the scheme is read: it holds no secret.
    if separator and re.fullmatch(r"[a-z][a-z0-9]*", backend) and backend != "sqlite":
        raise InvalidDatabaseUrl(
            f"{setting} names a {backend} database; an EmDash site's is SQLite (sqlite:///…) or Postgres (postgresql://…)"
        )
    try:
        url = make_url(text) if backend == "sqlite" else None
    except (ArgumentError, ValueError):
        url = None
    if url is None:
        raise InvalidDatabaseUrl(f"{setting} is not a database URL: {_FORM}")
    return DatabaseUrl(url)


@dataclass
class _PostgresUrl:
    """What follows ``postgresql://``, taken apart. ``setting``: the variable, for messages."""

    rest: str = field(repr=False)
    setting: str

    def read(self) -> DatabaseUrl:
        self._require_encoded()
        before_options, _, options = self.rest.partition("?")
        authority, _, database = before_options.partition("/")
        login, _, hosts = authority.rpartition("@")
        user, has_password, password = login.partition(":")
        query, schema, pooled = self._read_options(options)
        host, port = self._hosts(hosts)
        # As in libpq, what the options say comes first.
        host, port = query.pop("host", host), query.pop("port", port)
        port = self._ports(port, hosts=host.count(",") + 1)
        one_host = "," not in host and not host.startswith("/")
        if not one_host:
            query |= {"host": host} | ({"port": port} if port else {})
        return DatabaseUrl(
            URL.create(
                "postgresql+psycopg",
                username=query.pop("user", self._decoded(user)) or None,
                password=query.pop("password", self._decoded(password) if has_password else "") or None,
                host=host or None if one_host else None,
                port=int(port) if one_host and port else None,
                database=query.pop("dbname", self._decoded(database)) or None,
                query=query,
            ),
            schema,
            pooled,
        )

    def _require_encoded(self) -> None:
        before_login = self.rest.partition("@")[0]
        if (
            self.rest.count("@") > 1
            or "#" in self.rest
            or ("@" in self.rest and set(before_login) & set("/?"))
            or _BAD_PERCENT.search(self.rest)
        ):
            raise InvalidDatabaseUrl(
                f"{self.setting} is ambiguous: {_ENCODE}, and write @ as it is before the host alone"
            )
        if not self.rest.isprintable():
            raise InvalidDatabaseUrl(f"{self.setting} has a character that cannot be printed: copy it again")

    def _hosts(self, hosts: str) -> tuple[str, str]:
        """Return the hosts and their ports as libpq takes them: each with commas between."""
        found = [_HOST.fullmatch(each) for each in hosts.split(",")]
        if None in found:
            raise InvalidDatabaseUrl(f"{self.setting} has a host that cannot be read: {_FORM}")
        ports = [each["port"] or "" for each in found if each]
        return ",".join(self._decoded(each["v6"] or each["host"] or "") for each in found if each), ",".join(ports)

    def _ports(self, ports: str, *, hosts: int) -> str:
        """Return the port of each host, with commas between, or nothing where all have the default."""
        given = ports.split(",") if ports.strip(",") else []
        if any(port and not _is_a_port(port) for port in given):
            raise InvalidDatabaseUrl(
                f"{self.setting} has a port that is no number from 1 to 65535: {_FORM}; a password stands before an @"
            )
        if len(given) == 1:
            given *= hosts
        if given and len(given) != hosts:
            raise InvalidDatabaseUrl(f"{self.setting} has {hosts} hosts and {len(given)} ports: give each host its own")
        return ",".join(given)

    def _read_options(self, text: str) -> tuple[dict[str, str], str | None, bool]:
        """Return the options of libpq by name, the schema, and whether connections are a pooler's."""
        pairs = [pair.partition("=") for pair in text.split("&") if pair]
        given = {self._decoded(name): self._decoded(value) for name, _, value in pairs}
        if len(given) < len(pairs):
            raise InvalidDatabaseUrl(f"{self.setting} has an option twice: write each once, hosts with commas between")
        schema, pooled = given.pop("schema", None), given.pop("pgbouncer", "false")
        if schema is not None and _SCHEMA.fullmatch(schema) is None:
            raise InvalidDatabaseUrl(f"{self.setting} has an option schema that is no name of a schema: write its name")
        options = {name: value for name, value in given.items() if name not in _ALREADY_SO}
        ssl = options.pop("ssl", None)
        mode = options.get("sslmode", ssl)
        if mode is not None:
            if mode.lower() not in _SSL:
                option = "sslmode" if "sslmode" in options else "ssl"
                raise InvalidDatabaseUrl(
                    f"{self.setting} has a value of {option} that is none: write sslmode= with one of "
                    f"{', '.join(_SSL_MODES)}"
                )
            options["sslmode"] = _SSL[mode.lower()]
        if options:
            self._require_known(options)
        return options, schema, pooled.lower() in ("true", "1")

    def _require_known(self, options: Mapping[str, str]) -> None:
        from psycopg.pq import Conninfo  # not needed for SQLite, and takes a while

        known = {option.keyword.decode() for option in Conninfo.get_defaults()}
        for name in options:
            if name in known:
                continue
            if (way_out := _WAYS_OUT.get(name.lower())) is not None:
                raise InvalidDatabaseUrl(f"{self.setting} has the option {name}, which has no meaning here: {way_out}")
            if _SECRET_OPTIONS & options.keys() or re.fullmatch(r"\w+", name, re.ASCII) is None:
                # It may be what follows an & in a password.
                raise InvalidDatabaseUrl(f"{self.setting} has an option that libpq does not have: {_ENCODE}")
            close = get_close_matches(name.lower(), known, n=1)
            hint = f"did you mean {close[0]}?" if close else "remove it"
            raise InvalidDatabaseUrl(f"{self.setting} has the option {name}, which libpq does not have: {hint}")

    def _decoded(self, text: str) -> str:
        decoded = unquote_to_bytes(text).decode("utf-8", errors="replace")
        if "\N{REPLACEMENT CHARACTER}" in decoded:
            raise InvalidDatabaseUrl(f"{self.setting} has a part that is not UTF-8: {_ENCODE} as UTF-8")
        return decoded


def _is_a_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 5 and 0 < int(text) < 65_536
