"""How commands read the settings and report errors: in one sentence, without a traceback, with exit code 2."""

import sys
from collections.abc import Callable
from functools import wraps
from typing import NoReturn, ParamSpec

import click

from mika_ops.config.errors import SettingsError
from mika_ops.config.loading import load_settings, unknown_variables
from mika_ops.config.shop import Shop
from mika_ops.store.errors import DatabaseError

P = ParamSpec("P")


def reports_errors(command: Callable[P, None]) -> Callable[P, None]:
    """Have a command report an error in one sentence, without a traceback, and exit with 2."""

    @wraps(command)
    def reported(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except (SettingsError, DatabaseError) as error:
            fail(str(error))

    return reported


def read_shop() -> Shop:
    """Return the shop that the environment describes, and warn about variables that resemble a setting but are none.

    Raises ``SettingsError`` if a setting is invalid.
    """
    shop = Shop(load_settings())
    from mika_ops.assembly import require_database_for_email

    require_database_for_email(shop)
    for sentence in unknown_variables():
        warn(sentence)
    return shop


def warn(sentence: str) -> None:
    """Print a warning; the command continues."""
    click.echo(f"Warning: {sentence}", err=True)


def fail(sentence: str) -> NoReturn:
    """Print why the command cannot continue, and exit with 2."""
    click.echo(f"mika-ops: {sentence}", err=True)
    sys.exit(2)
