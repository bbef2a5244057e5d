"""The kinds of emails, by their names in the storefront's documents."""

from typing import Final

MAGIC_LINK: Final = "magic_link"
ORDER_CONFIRMATION: Final = "order_confirmation"
DOWNLOAD: Final = "download"
ADMIN_NOTIFICATION: Final = "admin_notification"

EXTRA_KINDS: Final = (DOWNLOAD, ADMIN_NOTIFICATION)
"""Kinds that Mika has no template for and skips; they are sent only if a shop enables them."""

KINDS: Final = (MAGIC_LINK, ORDER_CONFIRMATION, *EXTRA_KINDS)

PURPOSES: Final = ("sign_in", "checkout", "account_delete")
"""What a magic link may be for."""


def require_extra_kinds(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names without duplicates. Raises ``ValueError`` if one is not an extra kind."""
    for name in names:
        if name not in EXTRA_KINDS:
            raise ValueError(f"{name!r} is not a kind of email that can be added: write {' or '.join(EXTRA_KINDS)}")
    return tuple(dict.fromkeys(names))
