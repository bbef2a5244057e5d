"""Reads ``MIKA_SMTP_URL``."""

from dataclasses import dataclass, field
from typing import Final, Self
from urllib.parse import unquote, urlsplit

_DEFAULT_PORTS: Final = {"smtp": 25, "smtp+starttls": 587, "smtps": 465}

_FORM: Final = (
    "write it as smtp+starttls://user:password@mail.example.com:587 (or smtps://, or smtp:// for no encryption), "
    "with special characters in the user and the password percent-encoded"
)


@dataclass(frozen=True)
class SmtpServer:
    """Where a mail server is and how to talk to it; ``scheme`` is ``smtp``, ``smtp+starttls`` or ``smtps``."""

    scheme: str
    host: str
    port: int
    user: str | None = None
    password: str | None = field(default=None, repr=False)

    @classmethod
    def from_url(cls, url: str) -> Self:
        """Read a URL. Raises ``ValueError``, naming the setting and never the password, where it is not one."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise ValueError(f"MIKA_SMTP_URL is not a mail server's address: {_FORM}") from None
        if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
            raise ValueError(f"MIKA_SMTP_URL does not name a mail server: {_FORM}")
        if parts.path.strip("/") or parts.query or parts.fragment:
            raise ValueError(f"MIKA_SMTP_URL has something after the port: {_FORM}")
        user, password = (unquote(part) if part else None for part in (parts.username, parts.password))
        if (user is None) != (password is None):
            raise ValueError(f"MIKA_SMTP_URL has a user without a password, or the reverse: {_FORM}")
        if not (user or "").isascii() or not (password or "").isascii():
            raise ValueError("MIKA_SMTP_URL has a user or a password with characters outside ASCII: SMTP has no way")
        return cls(parts.scheme, parts.hostname, port or _DEFAULT_PORTS[parts.scheme], user, password)
