"""The probes of a shop's configuration: every configured component is tested. They change nothing.

A broken component does not keep the others from being tested. To add a probe, write a function that yields its results,
and add it to ``PROBES``. If it needs the open database, it belongs into ``mika_ops.doctor.database_probes``.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from mika_ops.assembly import admin_api_of, email_renderer, open_shop_database, smtp_sender
from mika_ops.clock import utc_now
from mika_ops.config.executor import broker_problem, missing_requirement
from mika_ops.config.settings import Settings
from mika_ops.config.shop import Shop, with_settings
from mika_ops.doctor.database_probes import DATABASE_PROBES
from mika_ops.doctor.probe import ADMIN_API, NEEDS_DATABASE, OUTBOX, Probe, ProbeResult, run_probe
from mika_ops.email.content.samples import sample_email, sample_order
from mika_ops.email.kinds import EXTRA_KINDS, KINDS, MAGIC_LINK, PURPOSES
from mika_ops.host.components import COMPONENTS
from mika_ops.ports.email import EmailUnrenderable
from mika_ops.setting_names import SettingNames
from mika_ops.store.errors import DatabaseError
from mika_ops.store.introspection import version_of
from mika_ops.store.opening import engine_for


def _settings(shop: Shop) -> Iterator[ProbeResult]:
    variables = [shop.names(name) for name in Settings.model_fields if name in shop.settings.model_fields_set]
    if variables:
        yield ProbeResult("settings", "ok", f"set: {', '.join(variables)}")
    else:
        yield ProbeResult("settings", "warning", "no setting is set, neither in the environment nor in a file .env")


def _database(shop: Shop) -> Iterator[ProbeResult]:
    if shop.settings.database_url is None:
        yield ProbeResult(
            "database", "not configured", f"{COMPONENTS['ops'].remedy(shop.names)} to the site's own database"
        )
        return
    try:
        engine_for(shop.settings.database_url.get_secret_value(), shop.names).dispose()
    except DatabaseError as error:
        # The message describes the setting, and holds no part of its value.
        yield ProbeResult("database", "broken", str(error), disables=NEEDS_DATABASE)
        return
    with open_shop_database(shop) as database:
        yield ProbeResult(
            "database", "ok", f"{version_of(database)}, the database of a Mika site; plugin id {database.plugin_id!r}"
        )
        for probe in DATABASE_PROBES:
            yield from run_probe(probe, database)


def _email(shop: Shop) -> Iterator[ProbeResult]:
    if shop.settings.email_directory is not None:
        yield _email_directory(shop.settings.email_directory, shop.names)
    elif (sender := smtp_sender(shop)) is not None:
        with sender:
            sender.check()
        server = sender.server
        login = "without a login" if server.user is None else "logged in"
        address = f"{server.host}:{server.port} over {server.scheme}"
        yield ProbeResult("email", "ok", f"the mail server {address}: connected, {login}; nothing was sent")
    else:
        names = shop.names
        message = f"set {names('smtp_url')} with {names('email_from')}, or {names('email_directory')}"
        yield ProbeResult("email", "not configured", message, disables=OUTBOX)


def _email_directory(directory: Path, names: SettingNames) -> ProbeResult:
    existing = next(path for path in (directory, *directory.absolute().parents) if path.exists())
    exists = existing == directory
    # Writing uses the effective ids, not those of the user who started the program.
    by_effective_ids = os.access in os.supports_effective_ids
    if existing.is_dir() and os.access(existing, os.W_OK | os.X_OK, effective_ids=by_effective_ids):
        message = "can be written" if exists else "can be created, with the first email"
        return ProbeResult("email", "ok", f"the folder {directory} {message}")
    message = "cannot be written" if exists else f"cannot be created, because {existing} is not a writable folder"
    return ProbeResult(
        "email",
        "broken",
        f"{names('email_directory')} names {directory}, which {message}: change its permissions, or set another folder",
        disables=OUTBOX,
    )


def _templates(shop: Shop) -> Iterator[ProbeResult]:
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
        yield ProbeResult("email templates", "broken", "; ".join(dict.fromkeys(problems)), disables=OUTBOX)
    elif unused := templates.unused_files():
        yield ProbeResult("email templates", "warning", "; ".join(unused))
    else:
        folder = shop.settings.email_templates
        source = "the built-in templates" if folder is None else f"the templates in {folder}"
        yield ProbeResult("email templates", "ok", f"{source} render a sample of all {len(KINDS)} kinds")


def _admin_api(shop: Shop) -> Iterator[ProbeResult]:
    if shop.settings.admin_api_url is None:
        yield ProbeResult("admin API", "not configured", COMPONENTS["admin_api"].remedy(shop.names), disables=ADMIN_API)
        return
    with admin_api_of(shop) as api:
        api.check()
    message = "the site accepts our calls: token, role, scope, key header and storage work; the test changed nothing"
    yield ProbeResult("admin API", "ok", message)


def _alerts(shop: Shop) -> Iterator[ProbeResult]:
    if not shop.settings.alert_urls:
        yield ProbeResult(
            "alerts", "not configured", f"failures are logged only; set {shop.names('alert_urls')} to receive alerts"
        )
        return
    from mika_ops.alerting.channels import channels

    message = f"{len(channels(shop))} valid addresses; `mika-ops alerts test` sends a test alert to each"
    yield ProbeResult("alerts", "ok", message)


def _workers(shop: Shop) -> Iterator[ProbeResult]:
    settings, names = shop.settings, shop.names
    if missing := missing_requirement(settings, names):
        yield ProbeResult("workers", "broken", missing, disables=frozenset(COMPONENTS))
    elif settings.executor == "celery" and (problem := broker_problem(settings, names)):
        yield ProbeResult("workers", "broken", problem, disables=frozenset(COMPONENTS))
    elif settings.shards > 1 and settings.executor == "in_process":
        message = (
            f"{names('shards')} has no effect with {names('executor')}=in_process, where one process runs all shards "
            "in sequence"
        )
        yield ProbeResult("workers", "warning", message)
    elif settings.executor != "in_process":
        yield ProbeResult("workers", "ok", f"{settings.executor} executes runs, in at most {settings.shards} shards")


PROBES: Final[tuple[Probe[Shop], ...]] = (
    Probe("settings", frozenset(), _settings),
    Probe("database", NEEDS_DATABASE, _database),
    Probe("email", OUTBOX, _email),
    Probe("email templates", OUTBOX, _templates),
    Probe("admin API", ADMIN_API, _admin_api),
    Probe("alerts", frozenset(), _alerts),
    Probe("workers", frozenset(COMPONENTS), _workers),
)
"""The probes of a shop, in the order of the report."""
