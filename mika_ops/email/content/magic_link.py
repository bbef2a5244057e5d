"""The wording of the emails with a magic link."""

from dataclasses import dataclass, fields
from typing import Final

from mika_ops.email.kinds import PURPOSES


@dataclass(frozen=True)
class MagicLinkWording:
    """The sentences around a magic link."""

    subject: str
    heading: str
    lead: str
    button: str
    if_unasked: str


_BY_PURPOSE: Final = {
    "sign_in": MagicLinkWording(
        subject="Sign in to {site}",
        heading="Sign in",
        lead="Use this link to sign in to {site}.",
        button="Sign in",
        if_unasked="If you did not ask to sign in, ignore this email: without the link, nobody can use it.",
    ),
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


def magic_link_purpose(value: object) -> str:
    """Return the purpose that a document names, or ``sign_in`` if it is unknown."""
    return value if isinstance(value, str) and value in PURPOSES else "sign_in"


def magic_link_wording(purpose: str, *, site_name: str) -> MagicLinkWording:
    """Return the wording for one of the purposes."""
    wording = _BY_PURPOSE[purpose]
    return MagicLinkWording(
        **{field.name: getattr(wording, field.name).format(site=site_name) for field in fields(wording)}
    )
