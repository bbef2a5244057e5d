"""Loads settings from the environment, from ``.env`` and from files."""

import os
import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Final

from pydantic import ValidationError
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    PydanticBaseSettingsSource,
)
from pydantic_settings import SettingsError as UnparsedSettings

from mika_ops.config.errors import SettingProblem, SettingsError
from mika_ops.config.secret_files import UnreadSecret, secret_names
from mika_ops.config.settings import Settings
from mika_ops.setting_names import PREFIX, SettingNames

RENAMED_SETTINGS: Final[Mapping[str, str]] = {"alert_silence_minutes": "alert_no_run_minutes"}
"""Settings under names that were removed, with their replacements. A removed name is an error, so it is not ignored."""


def load_settings(*, shop: str | None = None, **overrides: Any) -> Settings:
    """Load the settings from the environment, a ``.env`` file and files of secrets; ``overrides`` take precedence.

    ``shop``: the name of one shop among several; the variables of the shop ``eu`` start with ``MIKA_EU_``. Raises
    ``SettingsError`` with one sentence for each invalid variable.
    """
    names = SettingNames(prefix_of(shop))
    if removed := [name for name in RENAMED_SETTINGS if name in overrides]:
        raise SettingsError(
            "\n".join(f"settings.{name} was renamed: use settings.{RENAMED_SETTINGS[name]}" for name in removed)
        )
    try:
        if removed_variables := _removed_variables(_variables(), names):
            raise SettingsError("\n".join(removed_variables))
        return Settings(_env_prefix=names.prefix, **overrides)
    except ValidationError as error:
        problems = "\n".join(_sentence(dict(problem), names) for problem in error.errors())
    except UnicodeDecodeError:
        problems = "the file .env is not UTF-8: save it as UTF-8"
    except UnparsedSettings as error:
        if isinstance(error.__cause__, UnreadSecret):
            raise SettingsError(str(error.__cause__)) from None
        problems = f'{names("limits")} is not JSON: write it as {{"email_outbox": 25}}'
    raise SettingsError(problems)


def prefix_of(shop: str | None) -> str:
    """Return the prefix of a shop's variables. Raises ``SettingsError`` for an invalid name of a shop."""
    return PREFIX if shop is None else f"{PREFIX}{require_shop_name(shop).upper()}_"


def require_shop_name(name: str) -> str:
    """Return a shop's name. Raises ``SettingsError`` if it cannot be part of the name of a job and of a variable."""
    if re.fullmatch(r"[a-z][a-z0-9_]*", name) is None:
        raise SettingsError(f"{name!r} is no name of a shop: write small letters, digits and _, such as eu")
    return name


def unknown_variables(environment: Mapping[str, str] | None = None, *, shop: str | None = None) -> list[str]:
    """Return a warning for each variable that resembles a setting but is none: most are typing errors.

    ``environment``: by default what ``load_settings`` reads, including files. ``shop``: check the variables of this
    shop among several. One that ends like a setting may belong to another shop, and is not reported.
    """
    prefix = prefix_of(shop)
    variables = _variables() if environment is None else environment
    names = {*variables, *secret_names(variables, prefix)}
    known = {name.upper() for name in Settings.model_fields}
    warnings = []
    for name in sorted({name.upper() for name in names}):
        bare = name.removeprefix(prefix)
        is_another_shops = any(bare.endswith(f"_{setting}") for setting in known)
        if bare != name and bare not in known and not is_another_shops:
            close = get_close_matches(bare, known, n=1)
            warnings.append(f"{name} is no setting" + (f": did you mean {prefix}{close[0]}?" if close else ""))
    return warnings


def _variables() -> dict[str, str | None]:
    return {**DotEnvSettingsSource(Settings).env_vars, **os.environ}


def _removed_variables(variables: Mapping[str, str | None], names: SettingNames) -> list[str]:
    """Name the replacement of each variable that is set under a removed name."""
    given = {name.upper() for name in (*variables, *secret_names(variables, names.prefix))}
    return [
        f"{names(old)} was renamed: use {names(new)}" for old, new in RENAMED_SETTINGS.items() if names(old) in given
    ]


def _sentence(problem: dict[str, Any], names: SettingNames) -> str:
    cause = problem.get("ctx", {}).get("error")
    if isinstance(cause, SettingProblem):
        return cause.sentence(names)
    place = [str(part) for part in problem["loc"]]
    message = str(problem["msg"]).removeprefix("Value error, ")
    if not place:
        return message
    return f"{names(place[0])}{''.join(f'[{part}]' for part in place[1:])}: {message}"


class _IsolatedSettings(Settings):
    """Settings that read no environment and no file."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)


def isolated_settings(**values: Any) -> Settings:
    """Return settings with these values only, independent of the environment: for the demo and for tests."""
    return _IsolatedSettings(**values)
