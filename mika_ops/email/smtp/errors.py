"""What can go wrong with a mail server, in the outbox's terms, in sentences that hold nothing private."""

import re
from collections.abc import Iterable
from typing import Final

from mika_ops.ports.email import SenderThrottled, SenderUnavailable
from mika_ops.redaction import redact

SERVICE_NOT_AVAILABLE: Final = 421
"""With this answer to any command, the server closes the connection (RFC 5321)."""

AUTHENTICATION_REQUIRED: Final = 530
"""The server requires a login or encryption first (RFC 4954, RFC 3207): it will refuse every email."""

_SLOW_DOWN: Final = frozenset({SERVICE_NOT_AVAILABLE, 432, 451})
"""By these codes, servers ask to slow down; 432 is how Microsoft 365 says that too many send at once."""

_SLOW_DOWN_DETAIL: Final = re.compile(r"4\.7\.\d+\b")
"""The enhanced status (RFC 3463) of a temporary refusal by policy."""


class SendFailed(Exception):
    """The mail server did not accept the email, or may not have. The message holds no address and no password."""


class MailServerUnavailable(SendFailed, SenderUnavailable):
    """No email can be sent now: the server cannot be reached, trusted or logged in to, or it closes the connection.

    The server has received nothing of this email.
    """


class MailServerFull(MailServerUnavailable):
    """The server accepts no further connection at the moment."""


class MailServerThrottled(SendFailed, SenderThrottled):
    """The server did not accept the email and asks for fewer emails, or for later ones."""


def asks_to_slow_down(code: int, words: str) -> bool:
    """Say whether an answer asks for fewer emails or for later ones."""
    return code in _SLOW_DOWN or (code // 100 == 4 and _SLOW_DOWN_DETAIL.match(words) is not None)


def answered(command: str, code: int, words: str, private: Iterable[str | None]) -> str:
    """Return the sentence about a refusal, without what is private."""
    return f"the mail server answered {code} to {command}: {redact_all(words, private)}"


def redact_all(words: str, private: Iterable[str | None]) -> str:
    """Return what a server said, on one line and without what is private."""
    # Servers repeat who was refused, often by the local part alone, which no pattern can distinguish from a word.
    for secret in filter(None, private):
        words = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", "<private>", words, flags=re.IGNORECASE)
    return redact(words)


def reason(error: OSError) -> str:
    """Return the message of a network error, or the name of its type where it has none."""
    return error.strerror or str(error) or type(error).__name__
