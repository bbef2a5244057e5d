"""The kinds of emails, by the names that they have in the storefront's documents."""

from typing import Final

MAGIC_LINK: Final = "magic_link"
ORDER_CONFIRMATION: Final = "order_confirmation"
DOWNLOAD: Final = "download"
ADMIN_NOTIFICATION: Final = "admin_notification"

EXTRA_KINDS: Final = (DOWNLOAD, ADMIN_NOTIFICATION)
"""Kinds that Mika itself has no template for and skips; they are sent only where a shop asks for it."""

KINDS: Final = (MAGIC_LINK, ORDER_CONFIRMATION, *EXTRA_KINDS)

PURPOSES: Final = ("sign_in", "checkout", "account_delete")
"""What a magic link may be for."""


def require_extra_kinds(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names, each once, where all are extra kinds. Raises ``ValueError`` for others."""
    for name in names:
        if name not in EXTRA_KINDS:
            raise ValueError(f"{name!r} is not a kind of email that can be added: write {' or '.join(EXTRA_KINDS)}")
    return tuple(dict.fromkeys(names))
