"""The names of a shop's environment variables, for the messages that name them."""

from dataclasses import dataclass
from typing import Final

PREFIX: Final = "MIKA_"


@dataclass(frozen=True)
class SettingNames:
    """Names the environment variable of each setting of one shop.

    Every adapter that names a setting in a message gets one at construction, so that a message is right where it is
    made: ``names("database_url")`` is ``MIKA_DATABASE_URL``, or ``MIKA_EU_DATABASE_URL`` for the shop ``eu``.
    """

    prefix: str = PREFIX

    def __call__(self, setting: str) -> str:
        """Return the name of the environment variable of a field of ``Settings``."""
        return f"{self.prefix}{setting.upper()}"


PLAIN_NAMES: Final = SettingNames()
"""The names where there is one shop only."""
