"""How commands read the settings and tell what is wrong: in one sentence, without a traceback, with exit code 2."""

import sys
from collections.abc import Callable
from functools import wraps
from typing import NoReturn, ParamSpec

import click

from mika_ops.config.errors import SettingsError
from mika_ops.config.loading import load_settings, unknown_variables
from mika_ops.config.settings import Settings
from mika_ops.store.errors import DatabaseError

P = ParamSpec("P")


def reports_errors(command: Callable[P, None]) -> Callable[P, None]:
    """Tell what is wrong in one sentence, without a traceback, and exit with 2."""

    @wraps(command)
    def told(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except (SettingsError, DatabaseError) as error:
            fail(str(error))

    return told


def read_settings() -> Settings:
    """Read the settings, and warn of variables that look like one and are none.

    Raises ``SettingsError`` where one cannot be used.
    """
    settings = load_settings()
    from mika_ops.assembly import require_database_for_email

    require_database_for_email(settings)
    for told in unknown_variables():
        warn(told)
    return settings


def warn(sentence: str) -> None:
    """Tell something that does not keep the command from going on."""
    click.echo(f"Warning: {sentence}", err=True)


def fail(sentence: str) -> NoReturn:
    """Tell why the command cannot go on, and exit with 2."""
    click.echo(f"mika-ops: {sentence}", err=True)
    sys.exit(2)
