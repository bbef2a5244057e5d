"""The scheduled maintenance of a Mika storefront, run on Dagster and on the site's own database."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mika_ops.component import MikaMaintenance as MikaMaintenance
    from mika_ops.config.settings import Settings as Settings
    from mika_ops.host.host import EmailOverrides as EmailOverrides
    from mika_ops.host.host import Host as Host
    from mika_ops.host.lazy import lazily as lazily
    from mika_ops.host.validation import from_function as from_function
    from mika_ops.orchestration.definitions import build_definitions as build_definitions

_MODULES = {
    "EmailOverrides": "mika_ops.host.host",
    "Host": "mika_ops.host.host",
    "MikaMaintenance": "mika_ops.component",
    "Settings": "mika_ops.config.settings",
    "build_definitions": "mika_ops.orchestration.definitions",
    "from_function": "mika_ops.host.validation",
    "lazily": "mika_ops.host.lazy",
}
"""The module of each public name."""

__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    # Imported at the first use: importing a rule or the CLI's help must not import Dagster.
    if name in _MODULES:
        from importlib import import_module

        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    # Dagster's dg lists the names of this module to find the component.
    return [*globals(), *__all__]
