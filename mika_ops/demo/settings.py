"""The settings of the demo's shop: its own alone, so that it never touches a real shop that the environment names."""

from pathlib import Path
from typing import Final

from mika_ops.config.loading import isolated_settings
from mika_ops.config.settings import Settings

DATABASE_URL_VARIABLE: Final = "MIKA_DEMO_DATABASE_URL"
OUTBOX_VARIABLE: Final = "MIKA_DEMO_OUTBOX"


def demo_settings(database_url: str, outbox: Path) -> Settings:
    """Return the settings of the shop in a database, whose emails are written into the folder ``outbox``."""
    return isolated_settings(database_url=database_url, email_directory=outbox, site_name="The demo shop", locale="en")
