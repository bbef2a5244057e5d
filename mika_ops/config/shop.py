"""A shop: its settings, its name among several shops, and the components that its host supplies."""

from dataclasses import dataclass, field, replace
from typing import Any

from mika_ops.config.loading import prefix_of
from mika_ops.config.settings import Settings
from mika_ops.host.host import Host
from mika_ops.setting_names import SettingNames


@dataclass(frozen=True)
class Shop:
    """What one shop consists of before anything is opened.

    ``name`` is ``None`` if there is only one shop. A component in ``supplied`` takes precedence over one that the
    settings configure.
    """

    settings: Settings
    name: str | None = None
    supplied: Host = field(default_factory=Host)

    @property
    def names(self) -> SettingNames:
        """The names of the shop's environment variables. Raises ``SettingsError`` if the shop's name is invalid."""
        return SettingNames(prefix_of(self.name))


def with_settings(shop: Shop, **changes: Any) -> Shop:
    """Return the shop with some of its settings changed. The new values are not validated."""
    return replace(shop, settings=shop.settings.model_copy(update=changes))
