"""Trying every configured piece for real, and changing nothing: what is broken, and what a run will make of it.

One broken piece never keeps the others from being tried. To try one thing more, write a function that yields what it
found and add it to ``PROBES``, or to ``DATABASE_PROBES`` where it looks into the open database. What such a
function raises is a finding, too: that the thing is broken.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Generic, Literal, TypeAlias, TypeVar

from sqlalchemy import Table

from mika_ops.assembly import (
    DATABASE_COMPONENTS,
    admin_api_of,
    configured_components,
    email_renderer,
    open_shop_database,
    smtp_sender,
)
from mika_ops.clock import utc_now
from mika_ops.config.executor import broker_problem, missing_requirement
from mika_ops.config.settings import Settings
from mika_ops.config.shop import Shop, with_settings
from mika_ops.email.content.samples import sample_email, sample_order
from mika_ops.email.kinds import EXTRA_KINDS, KINDS, MAGIC_LINK, PURPOSES
from mika_ops.host.components import COMPONENTS
from mika_ops.ports.email import EmailUnrenderable
from mika_ops.redaction import describe_error
from mika_ops.setting_names import SettingNames
from mika_ops.store.database import Database
from mika_ops.store.errors import DatabaseError
from mika_ops.store.introspection import (
    PRIVILEGES,
    document_indexes_of,
    own_tables,
    read_problems,
    version_of,
    write_problems,
)
from mika_ops.store.migrate import missing_indexes, wrong_version
from mika_ops.store.opening import engine_for
from mika_ops.store.schema.own import acp_sessions, own
from mika_ops.store.schema.site import ephemeral_records, plugin_storage, stock_events, stock_items
from mika_ops.subtasks.registry import SUBTASKS
from mika_ops.subtasks.subtask import Subtask, skip_reason

S = TypeVar("S")

CheckStatus: TypeAlias = Literal["ok", "warning", "broken", "not configured"]
SubtaskStatus: TypeAlias = Literal["runs", "skipped", "cannot run"]


@dataclass(frozen=True)
class Check:
    """What was found out about one thing: a sentence, and the SQL statements that help, where some do.

    ``stops``: the pieces of ``Host`` that do not work where it is broken, and are not there where it is not configured.
    """

    name: str
    status: CheckStatus
    sentence: str
    statements: tuple[str, ...] = ()
    stops: frozenset[str] = frozenset()


@dataclass(frozen=True)
class SubtaskForecast:
    """What a run would make of one subtask; and why, where it would not run it."""

    name: str
    status: SubtaskStatus
    reason: str | None = None


@dataclass(frozen=True)
class Diagnosis:
    """All checks, and what they mean for each subtask, in the order of a run."""

    checks: Sequence[Check]
    subtasks: Sequence[SubtaskForecast]

    @property
    def ok(self) -> bool:
        """Whether nothing that is configured is broken."""
        return all(check.status != "broken" for check in self.checks)


@dataclass(frozen=True)
class Probe(Generic[S]):
    """One thing to try. ``stops``: the pieces that do not work where trying it fails."""

    name: str
    stops: frozenset[str]
    look: Callable[[S], Iterator[Check]]


_OUTBOX: Final = frozenset({"email_outbox"})
_ADMIN_API: Final = frozenset({"admin_api"})
_NEEDS_DATABASE: Final = DATABASE_COMPONENTS | _OUTBOX

_BY_TABLE: Final[Mapping[str, frozenset[str]]] = {
    plugin_storage.name: frozenset({"ops", "account", "ledger", "session", "email_outbox", "backlog"}),
    stock_items.name: frozenset({"stock", "reservation_release"}),
    stock_events.name: frozenset({"stock", "reservation_release", "backlog"}),
    ephemeral_records.name: frozenset({"ephemeral", "ephemeral_purge", "backlog"}),
    **dict.fromkeys(own.tables, frozenset({"acp_sessions"})),
}
"""The pieces that need each table."""


def diagnose(shop: Shop) -> Diagnosis:
    """Try everything that the settings ask for, each within its own time-out. Changes nothing, and never raises."""
    checks = [check for examination in PROBES for check in _found(examination, shop)]
    return Diagnosis(checks, [_expected(subtask, shop, checks) for subtask in SUBTASKS])


def _found(examination: Probe[S], subject: S) -> Iterator[Check]:
    try:
        yield from examination.look(subject)
    except Exception as error:  # noqa: BLE001 - one broken piece must not keep the others from being tried
        yield Check(examination.name, "broken", describe_error(error), stops=examination.stops)


def _expected(subtask: Subtask, shop: Shop, checks: Sequence[Check]) -> SubtaskForecast:
    absent = _stopped_by(checks, "not configured")
    present = configured_components(shop) - absent
    reason = skip_reason(subtask, present, shop.names)
    if reason is not None:
        return SubtaskForecast(subtask.name, "skipped", reason)
    # A subtask uses the first that is configured: it does not fall back on another one if that is broken.
    needed = {next(name for name in need if name in present) for need in subtask.needs}
    broken = [check.name for check in checks if check.status == "broken" and check.stops & needed]
    if broken:
        return SubtaskForecast(subtask.name, "cannot run", f"broken: {', '.join(broken)}")
    return SubtaskForecast(subtask.name, "runs")


def _stopped_by(checks: Sequence[Check], status: CheckStatus) -> frozenset[str]:
    return frozenset().union(*(check.stops for check in checks if check.status == status))


def _settings(shop: Shop) -> Iterator[Check]:
    given = [shop.names(name) for name in Settings.model_fields if name in shop.settings.model_fields_set]
    if given:
        yield Check("settings", "ok", f"set: {', '.join(given)}")
    else:
        yield Check("settings", "warning", "no setting is set, neither in the environment nor in a file .env")


def _database(shop: Shop) -> Iterator[Check]:
    if shop.settings.database_url is None:
        yield Check("database", "not configured", f"{COMPONENTS['ops'].remedy(shop.names)} to the site's own database")
        return
    try:
        engine_for(shop.settings.database_url.get_secret_value(), shop.names).dispose()
    except DatabaseError as error:
        # Words of our own about the setting alone, which may show how a URL is written.
        yield Check("database", "broken", str(error), stops=_NEEDS_DATABASE)
        return
    with open_shop_database(shop) as database:
        yield Check("database", "ok", f"{version_of(database)}, a Mika site's; plugin id {database.plugin_id!r}")
        for examination in DATABASE_PROBES:
            yield from _found(examination, database)


def _own_tables(database: Database) -> Iterator[Check]:
    present, stops = own_tables(database), _BY_TABLE[acp_sessions.name]
    missing = ", ".join(name for name in own.tables if name not in present)
    if acp_sessions.name not in present:
        message = f"no {missing}: `mika-ops db prepare` creates them, for a site that keeps its ACP sessions here"
        yield Check("ACP tables", "not configured", message, stops=stops)
    elif (wrong := wrong_version(database)) is not None:
        yield Check("ACP tables", "broken", wrong, stops=stops)
    elif missing:
        yield Check("ACP tables", "broken", f"no {missing}: `mika-ops db prepare` creates it", stops=stops)
    else:
        yield Check("ACP tables", "ok", f"{', '.join(own.tables)} are there")


def _reading(database: Database) -> Iterator[Check]:
    tables = _tables_of(database)
    yield _of_tables("reading", read_problems(database, tables), f"{len(tables)} tables can be read")


def _writing(database: Database) -> Iterator[Check]:
    tables = _tables_of(database)
    yield _of_tables("writing", write_problems(database, tables), f"{len(tables)} tables can be written; none was")


def _tables_of(database: Database) -> list[Table]:
    present = own_tables(database)
    return [table for table in PRIVILEGES if table.name not in own.tables or table.name in present]


def _of_tables(name: str, wrong: Mapping[str, str], fine: str) -> Check:
    if not wrong:
        return Check(name, "ok", fine)
    message = "; ".join(f"{table}: {why}" for table, why in wrong.items())
    return Check(name, "broken", message, stops=frozenset().union(*(_BY_TABLE[table] for table in wrong)))


def _indexes(database: Database) -> Iterator[Check]:
    indexes = document_indexes_of(database)
    there = f"{indexes.found} expression indexes of documents"
    if not indexes.unserved:
        missing = missing_indexes(database)
        advice = (
            f"; {len(missing)} of our own are not there, that keep a look as cheap however much is finished: "
            "`mika-ops db prepare` creates them"
        )
        yield Check("indexes", "ok", f"{there}; maintenance looks up by them{advice if missing else ''}")
        return
    message = (
        f"{there}, and none to look up {'; '.join(indexes.unserved)}: runs are right, but slow in a large shop; "
        "let the site create what is missing, or run the statements"
    )
    yield Check("indexes", "warning", message, indexes.statements)


def _email(shop: Shop) -> Iterator[Check]:
    if shop.settings.email_directory is not None:
        yield _email_directory(shop.settings.email_directory, shop.names)
    elif (sender := smtp_sender(shop)) is not None:
        with sender:
            sender.check()
        server = sender.server
        entered = "without a login" if server.user is None else "logged in"
        where = f"{server.host}:{server.port} over {server.scheme}"
        yield Check("email", "ok", f"the mail server {where}: reached, {entered}; nothing was sent")
    else:
        names = shop.names
        message = f"set {names('smtp_url')} with {names('email_from')}, or {names('email_directory')}"
        yield Check("email", "not configured", message, stops=_OUTBOX)


def _email_directory(directory: Path, names: SettingNames) -> Check:
    existing = next(path for path in (directory, *directory.absolute().parents) if path.exists())
    is_there = existing == directory
    # By the rights that writing goes by, not by those of whoever started the program.
    by_effective_ids = os.access in os.supports_effective_ids
    if existing.is_dir() and os.access(existing, os.W_OK | os.X_OK, effective_ids=by_effective_ids):
        message = "can be written" if is_there else "can be made, with the first email"
        return Check("email", "ok", f"the folder {directory} {message}")
    message = "cannot be written" if is_there else f"cannot be made, for {existing} is no folder that can be written"
    return Check(
        "email",
        "broken",
        f"{names('email_directory')} names {directory}, which {message}: allow it, or name another",
        stops=_OUTBOX,
    )


def _templates(shop: Shop) -> Iterator[Check]:
    from mika_ops.email.content.template_set import TemplateSet

    templates = TemplateSet(shop.settings.email_templates, names=shop.names)
    problems = templates.problems()
    if not problems:
        renderer = email_renderer(with_settings(shop, email_extra_kinds=EXTRA_KINDS))
        for kind in KINDS:
            for purpose in PURPOSES if kind == MAGIC_LINK else PURPOSES[:1]:
                try:
                    renderer.render(sample_email(kind, purpose=purpose, now=utc_now()), sample_order(kind))
                except EmailUnrenderable as error:
                    problems.append(f"{kind}: {error}")
    if problems:
        yield Check("email templates", "broken", "; ".join(dict.fromkeys(problems)), stops=_OUTBOX)
    elif unused := templates.unused_files():
        yield Check("email templates", "warning", "; ".join(unused))
    else:
        whose = (
            "the built-in ones"
            if shop.settings.email_templates is None
            else f"those in {shop.settings.email_templates}"
        )
        yield Check("email templates", "ok", f"{whose} make a sample of all {len(KINDS)} kinds")


def _admin_api(shop: Shop) -> Iterator[Check]:
    if shop.settings.admin_api_url is None:
        yield Check("admin API", "not configured", COMPONENTS["admin_api"].remedy(shop.names), stops=_ADMIN_API)
        return
    with admin_api_of(shop) as api:
        api.check()
    yield Check("admin API", "ok", "the site takes our calls; this one asked for nothing that changes it")


def _alerts(shop: Shop) -> Iterator[Check]:
    if not shop.settings.alert_urls:
        yield Check(
            "alerts", "not configured", f"failures are logged only; set {shop.names('alert_urls')} to receive alerts"
        )
        return
    from mika_ops.alerting.channels import channels

    message = f"{len(channels(shop))} can be read; `mika-ops alerts test` sends something to each"
    yield Check("alerts", "ok", message)


def _workers(shop: Shop) -> Iterator[Check]:
    settings, names = shop.settings, shop.names
    if missing := missing_requirement(settings, names):
        yield Check("workers", "broken", missing, stops=frozenset(COMPONENTS))
    elif settings.executor == "celery" and (problem := broker_problem(settings, names)):
        yield Check("workers", "broken", problem, stops=frozenset(COMPONENTS))
    elif settings.shards > 1 and settings.executor == "in_process":
        message = (
            f"{names('shards')} is of no use with {names('executor')}=in_process, where one process does all shards in "
            "turn"
        )
        yield Check("workers", "warning", message)
    elif settings.executor != "in_process":
        yield Check("workers", "ok", f"{settings.executor} executes runs, in at most {settings.shards} shards")


PROBES: Final[tuple[Probe[Shop], ...]] = (
    Probe("settings", frozenset(), _settings),
    Probe("database", _NEEDS_DATABASE, _database),
    Probe("email", _OUTBOX, _email),
    Probe("email templates", _OUTBOX, _templates),
    Probe("admin API", _ADMIN_API, _admin_api),
    Probe("alerts", frozenset(), _alerts),
    Probe("workers", frozenset(COMPONENTS), _workers),
)
"""Everything that is tried, in the order of the report."""

DATABASE_PROBES: Final[tuple[Probe[Database], ...]] = (
    Probe("ACP tables", _BY_TABLE[acp_sessions.name], _own_tables),
    Probe("reading", _NEEDS_DATABASE, _reading),
    Probe("writing", _NEEDS_DATABASE, _writing),
    Probe("indexes", frozenset(), _indexes),
)
"""Everything that is tried in the database once it is open."""
