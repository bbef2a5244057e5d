"""Turns an ``Envelope`` into an internet message, byte for byte the same at every attempt except for its date."""

import hashlib
import re
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from typing import Final

from mika_ops.email.address import mailbox, needs_smtputf8, sender_mailbox
from mika_ops.email.text import one_line
from mika_ops.ports.email import Envelope
from mika_ops.setting_names import PLAIN_NAMES

LONGEST_SUBJECT: Final = 300

_PLAIN_KEY: Final = re.compile(r"[A-Za-z0-9._:/+@-]{1,60}")
"""A key that fits on the line of the header and cannot be read as an encoded word."""


def build_message(
    envelope: Envelope, *, sender: str, message_id_domain: str, date: datetime, reply_to: str | None = None
) -> EmailMessage:
    """Build the message; ``sender`` and ``reply_to`` are header values, ``date`` (aware) is the time of sending.

    ``Message-ID`` depends only on the email's id, so that receivers can recognize a repeated email. A key that is not
    valid in a header is replaced by its digest. The headers are UTF-8 only if an address needs SMTPUTF8.

    Raises ``ValueError`` without any address in its message if one of the three is not an address.
    """
    to = mailbox(envelope.to)
    if to is None:
        raise ValueError("the recipient's address is missing or not an address")
    from_ = sender_mailbox(sender)
    reply_to_ = None if reply_to is None else sender_mailbox(reply_to, setting=PLAIN_NAMES("email_reply_to"))
    id_digest = digest(envelope.email_id)
    message = EmailMessage(SMTPUTF8 if needs_smtputf8(to, from_, *filter(None, [reply_to_])) else SMTP)
    message["From"] = from_
    if reply_to_ is not None:
        message["Reply-To"] = reply_to_
    message["To"] = to
    message["Subject"] = _unencoded(one_line(envelope.subject, longest=LONGEST_SUBJECT))
    message["Date"] = date
    message["Message-ID"] = f"<{id_digest}@{message_id_domain}>"
    message["Auto-Submitted"] = "auto-generated"
    message["Idempotency-Key"] = _header_key(envelope.idempotency_key or envelope.email_id)
    message.set_content(envelope.text, cte="quoted-printable")
    # "=_" cannot occur in quoted-printable text, so neither part can contain the boundary.
    message.make_alternative(boundary=f"=_{id_digest}")
    message.add_alternative(envelope.html, subtype="html", cte="quoted-printable")
    return message


def digest(text: str) -> str:
    """Return a digest of any text as 32 hexadecimal digits."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _header_key(key: str) -> str:
    return key if _PLAIN_KEY.fullmatch(key) else digest(key)


def _unencoded(text: str) -> str:
    # Python and mail clients read "=?utf-8?q?…?=" as encoded text, which may hold a line break.
    return text.replace("=?", "= ?")
