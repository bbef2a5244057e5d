"""Mail addresses: whether a text is plausibly one, and its form in SMTP."""

import re
import unicodedata
from email.headerregistry import Address
from email.utils import getaddresses
from typing import Final

from mika_ops.setting_names import PLAIN_NAMES

LONGEST_ADDRESS: Final = 320
"""Characters: the longest local part, an ``@`` and the longest domain that SMTP knows."""

_ADDRESS: Final = re.compile(r"""([^\s@<>()\[\]\\,;:"]+)@([^\s@<>()\[\]\\,;:"]+)""")


def mailbox(text: object) -> Address | None:
    """Return the text as one mailbox, or ``None`` if it is not plausibly one.

    Only the mail server knows whether a mailbox exists. This function rejects what cannot be one: no domain, several
    mailboxes, a display name, spaces, control characters. A domain with letters outside ASCII is converted to ASCII.
    """
    if not isinstance(text, str) or len(text) > LONGEST_ADDRESS or not _is_plain(text):
        return None
    match = _ADDRESS.fullmatch(text)
    domain = _wire_domain(match[2]) if match else None
    return Address(username=match[1], domain=domain) if match and domain else None


def sender_mailbox(text: str, *, setting: str = PLAIN_NAMES("email_from")) -> Address:
    """Parse an address of the shop, with or without a name, such as ``Shop <shop@example.com>``.

    Raises ``ValueError``, which names the setting, if it is not exactly one address.
    """
    pairs = getaddresses([text]) if _is_plain(text) else []
    address = mailbox(pairs[0][1]) if len(pairs) == 1 else None
    if address is None:
        raise ValueError(
            f"{setting} is not one mail address: write it as shop@example.com or as "
            '"Your shop" <shop@example.com>, with the quotes where the name has a comma or a dot'
        )
    return Address(display_name=pairs[0][0], username=address.username, domain=address.domain)


def needs_smtputf8(*addresses: Address) -> bool:
    """Return whether one of these addresses needs a server with SMTPUTF8."""
    return not all(address.addr_spec.isascii() for address in addresses)


def _is_plain(text: str) -> bool:
    # Python decodes "=?utf-8?q?…?=" anywhere in a header, and the decoded text may hold a line break.
    return text.isprintable() and "=?" not in text


def _wire_domain(domain: str) -> str | None:
    if "" in domain.split("."):
        return None
    if domain.isascii():
        return domain
    try:
        encoded = domain.encode("idna")
        read_back = encoded.decode("idna")
    except UnicodeError:
        return None
    # Python's codec converts ß to ss, which is another domain: such a domain is kept and needs SMTPUTF8.
    return encoded.decode("ascii") if read_back == unicodedata.normalize("NFC", domain).lower() else domain
