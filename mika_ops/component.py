"""Maintenance as a Dagster component: one shop or several, configured in the YAML of a ``dg`` project."""

import logging
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Annotated, Any, Final, TypeAlias

import dagster as dg
from dagster.components.scaffold.scaffold import NoParams, scaffold_with
from pydantic import Field, create_model

from mika_ops.config.errors import SettingsError
from mika_ops.config.loading import RENAMED_SETTINGS, load_settings, unknown_variables
from mika_ops.config.settings import Settings
from mika_ops.host.host import Host
from mika_ops.orchestration.definitions import build_definitions
from mika_ops.setting_names import PLAIN_NAMES

logger: Final = logging.getLogger(__name__)

_Value: TypeAlias = str | int | float | bool | list[str] | dict[str, int] | None
"""The types of a setting in YAML; the settings validate the values."""

_SETTINGS: Final[dict[str, Any]] = {
    name: (Annotated[_Value, dg.Resolver.default(description=field.description)], None)
    for name, field in Settings.model_fields.items()
} | {
    # A removed name stays in the schema: Dagster would otherwise reject it without naming the replacement.
    old: (Annotated[_Value, dg.Resolver.default(description=f"Removed: use {new}.")], None)
    for old, new in RENAMED_SETTINGS.items()
}


class GivenSettings(dg.Model, dg.Resolvable):
    """The settings of a shop: its variables in lower case, without the prefix."""


ShopSettings: type[GivenSettings] = create_model("ShopSettings", __base__=GivenSettings, **_SETTINGS)
"""One optional field for each setting."""

_NAME: Final = "The shop's name, where there are several: `eu` gives the job mika_maintenance_eu."
_HOST: Final = "A mika_ops.Host of your own, as `module.name`; it may be a function that returns one."


class Shop(dg.Model, dg.Resolvable):
    """One shop among several."""

    name: Annotated[str, dg.Resolver.default(description=_NAME)]
    host: Annotated[str | None, dg.Resolver.default(description=_HOST)] = None
    settings: ShopSettings = Field(default_factory=ShopSettings, repr=False)


class _Scaffolder(dg.Scaffolder[NoParams]):
    """Writes a component that reads its database from a variable."""

    def scaffold(self, request: dg.ScaffoldRequest[NoParams]) -> None:
        settings = {"database_url": f"{{{{ env.{PLAIN_NAMES('database_url')} }}}}"}
        dg.scaffold_component(request, {"settings": settings})


@scaffold_with(_Scaffolder)
class MikaMaintenance(dg.Component, dg.Model, dg.Resolvable):
    """The scheduled maintenance of a Mika storefront, or of several.

    Each shop has its own job, schedule, alerts and assets. A setting that is not given here is read from the
    environment: from ``MIKA_…``, or from ``MIKA_EU_…`` for the shop ``eu``.
    """

    name: Annotated[str | None, dg.Resolver.default(description=_NAME)] = None
    host: Annotated[str | None, dg.Resolver.default(description=_HOST)] = None
    settings: ShopSettings = Field(default_factory=ShopSettings, repr=False)
    shops: Annotated[
        Sequence[Shop], dg.Resolver.default(description="Several shops, instead of the fields above.")
    ] = ()

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:  # noqa: ARG002
        """Return the definitions of every shop. Raises ``SettingsError`` if one of them is invalid."""
        if not self.shops:
            return _definitions(self.name, self.host, self.settings)
        if self.name is not None or self.host is not None or _given(self.settings):
            raise SettingsError("give either shops, each with its name, host and settings, or those of one shop alone")
        names = [shop.name for shop in self.shops]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise SettingsError(f"two shops have the name {', '.join(twice)}")
        return dg.Definitions.merge(*(_definitions(shop.name, shop.host, shop.settings) for shop in self.shops))


def _definitions(name: str | None, host: str | None, given: GivenSettings) -> dg.Definitions:
    for sentence in unknown_variables(shop=name):
        logger.warning(sentence)
    settings = load_settings(shop=name, **_given(given))
    return build_definitions(name=name, settings=settings, host=None if host is None else _import_host(host))


def _given(settings: GivenSettings) -> Mapping[str, Any]:
    """Return the settings in the YAML. Raises ``SettingsError`` for an empty value, such as of an unset variable."""
    given = settings.model_dump(include=settings.model_fields_set)
    empty = [name for name, value in given.items() if value is None]
    if empty:
        raise SettingsError(f"settings.{', settings.'.join(empty)}: empty; is the variable set that it is read from?")
    return given


def _import_host(place: str) -> Host:
    """Import the host ``module.name``. Raises ``SettingsError`` if there is none."""
    module, _, name = place.rpartition(".")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise SettingsError(f"host: {place!r} cannot be imported ({error}): write module.name") from error
    host = found() if callable(found) else found
    if not isinstance(host, Host):
        raise SettingsError(f"host: {place!r} is {type(host).__name__}, not a mika_ops.Host or a function of one")
    return host
