"""The scheduled maintenance of a Mika storefront, run on Dagster and on the site's own database."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mika_ops.component import MikaMaintenance
    from mika_ops.config.settings import Settings
    from mika_ops.host.host import EmailOverrides, Host
    from mika_ops.host.lazy import lazily
    from mika_ops.host.validation import from_function
    from mika_ops.orchestration.definitions import build_definitions

__all__ = ["EmailOverrides", "Host", "MikaMaintenance", "Settings", "build_definitions", "from_function", "lazily"]

_HOMES = {
    "EmailOverrides": "mika_ops.host.host",
    "Host": "mika_ops.host.host",
    "MikaMaintenance": "mika_ops.component",
    "Settings": "mika_ops.config.settings",
    "build_definitions": "mika_ops.orchestration.definitions",
    "from_function": "mika_ops.host.validation",
    "lazily": "mika_ops.host.lazy",
}


def __getattr__(name: str) -> Any:
    # Loaded when asked for: importing a rule or the CLI's help must not import Dagster.
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    # Dagster's dg finds the component by looking through the names of this module.
    return [*globals(), *__all__]
