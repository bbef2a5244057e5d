"""The brand of the shop in its emails."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from mika_ops.documents.document import Document
from mika_ops.email.links import is_link
from mika_ops.email.text import one_line

LONGEST_SITE_NAME: Final = 100
LONGEST_SUPPORT_ADDRESS: Final = 320

AccountUrl: TypeAlias = Callable[[Document], str | None]
"""Returns the address of the shopper's account page for one email's document, or ``None`` to leave it out."""


@dataclass(frozen=True)
class Brand:
    """The brand of a shop: its name, the address for questions, and the page of a shopper's account.

    An account page that is not an http or https address is left out of emails.
    """

    site_name: str = "Our shop"
    support_email: str | None = None
    account_url: str | AccountUrl | None = None


BrandOf: TypeAlias = Callable[[Document], Brand]
"""Returns the brand for one email's document, for a shop that has several."""


@dataclass(frozen=True)
class ResolvedBrand:
    """A brand for one email, with values that are safe to print."""

    site_name: str
    support_email: str | None
    account_url: str | None


def resolve_brand(brand: Brand | BrandOf, document: Document) -> ResolvedBrand:
    """Return the brand for the email of this document. Raises whatever a host's function raises."""
    named = brand(document) if callable(brand) else brand
    url = named.account_url(document) if callable(named.account_url) else named.account_url
    support = one_line(named.support_email or "", longest=LONGEST_SUPPORT_ADDRESS)
    return ResolvedBrand(
        site_name=one_line(named.site_name, longest=LONGEST_SITE_NAME),
        support_email=support or None,
        account_url=url if url and is_link(url) else None,
    )
