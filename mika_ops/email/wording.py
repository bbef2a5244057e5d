"""What the emails say, apart from their facts."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class MagicLinkWording:
    """The sentences around a link; ``{site}`` stands for the shop's name in the subject and in ``lead``."""

    subject: str
    heading: str
    lead: str
    button: str
    if_unasked: str


_SIGN_IN: Final = MagicLinkWording(
    subject="Sign in to {site}",
    heading="Sign in",
    lead="Use this link to sign in to {site}.",
    button="Sign in",
    if_unasked="If you did not ask to sign in, ignore this email: without the link, nobody can use it.",
)

_BY_PURPOSE: Final = {
    "sign_in": _SIGN_IN,
    "checkout": MagicLinkWording(
        subject="Continue your checkout at {site}",
        heading="Continue your checkout",
        lead="Use this link to go back to your checkout at {site}.",
        button="Continue to checkout",
        if_unasked="If you were not buying anything, ignore this email: nothing is ordered by it.",
    ),
    "account_delete": MagicLinkWording(
        subject="Confirm the deletion of your account at {site}",
        heading="Confirm the deletion of your account",
        lead="We were asked to delete your account at {site}. Use this link to confirm. It cannot be undone.",
        button="Confirm the deletion",
        if_unasked="If this was not you, do not use the link: without it, your account stays as it is.",
    ),
}

ORDER_SUBJECT: Final = "Your order {number} at {site}"


def magic_link_wording(purpose: object) -> MagicLinkWording:
    """Return the wording for a link's purpose; a purpose that is not known is signing in."""
    return _BY_PURPOSE.get(purpose, _SIGN_IN) if isinstance(purpose, str) else _SIGN_IN
