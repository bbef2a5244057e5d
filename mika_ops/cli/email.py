"""The commands about emails.

Exit codes: 0 the command succeeded, 2 it did not: the call, a setting or a template is invalid.
"""

from pathlib import Path
from typing import Final

import click

from mika_ops.cli.errors import fail, read_shop, reports_errors, warn
from mika_ops.cli.failed_emails import failed, requeue
from mika_ops.clock import utc_now
from mika_ops.config.shop import with_settings
from mika_ops.email.kinds import EXTRA_KINDS, KINDS, MAGIC_LINK, PURPOSES
from mika_ops.ports.email import EmailSkipped, EmailUnrenderable, Envelope

DEFAULT_FOLDER: Final = Path("email-preview")


@click.group()
def email() -> None:
    """The emails that the shop sends."""


email.add_command(failed)
email.add_command(requeue)


@email.command()
@click.argument("kind", type=click.Choice(KINDS))
@click.option("--purpose", type=click.Choice(PURPOSES), help="What a magic link is for.  [default: sign_in]")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=DEFAULT_FOLDER,
    show_default=True,
    help="The folder to write into; it is created if it does not exist.",
)
@reports_errors
def preview(kind: str, purpose: str | None, out: Path) -> None:
    """Write a sample email of a kind into files: its HTML, its text and its subject.

    Brand, locale and templates are those of the MIKA_ variables. Nothing is sent, and no database is read.
    """
    if purpose is not None and kind != MAGIC_LINK:
        fail(f"--purpose applies to {MAGIC_LINK} only: omit it for {kind}")
    shop = read_shop()
    settings = shop.settings
    from mika_ops.assembly import email_renderer
    from mika_ops.email.content.samples import sample_email, sample_order
    from mika_ops.email.content.template_set import TemplateSet

    templates = TemplateSet(settings.email_templates, names=shop.names)
    if problems := templates.problems():
        fail("\nmika-ops: ".join(problems))
    for sentence in templates.unused_files():
        warn(sentence)
    if kind in EXTRA_KINDS and kind not in settings.email_extra_kinds:
        warn(f"emails of the kind {kind} are skipped until {shop.names('email_extra_kinds')} names it")
    renderer = email_renderer(with_settings(shop, email_extra_kinds=EXTRA_KINDS))
    sample = sample_email(kind, purpose=purpose or PURPOSES[0], now=utc_now())
    name = kind if kind != MAGIC_LINK else f"{kind}-{purpose or PURPOSES[0]}"
    try:
        envelope = renderer.render(sample, sample_order(kind))
        _write_files(envelope, out, name)
    except (EmailSkipped, EmailUnrenderable) as error:
        fail(str(error))
    except OSError as error:
        fail(f"the preview cannot be written into {out}: {error.strerror}")


def _write_files(envelope: Envelope, folder: Path, name: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for part, suffix, content in (
        ("subject", "subject.txt", f"{envelope.subject}\n"),
        ("text", "txt", envelope.text),
        ("HTML", "html", envelope.html),
    ):
        path = folder / f"{name}.{suffix}"
        path.write_text(content, encoding="utf-8")
        click.echo(f"{part:8}{path}")
