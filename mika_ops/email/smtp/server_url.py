"""Reads ``MIKA_SMTP_URL``, and the login where it is set separately."""

from dataclasses import dataclass, field
from typing import Final, Self
from urllib.parse import unquote, urlsplit

from mika_ops.setting_names import PLAIN_NAMES, SettingNames

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
    user: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    names: SettingNames = field(default=PLAIN_NAMES, repr=False, compare=False)

    @classmethod
    def from_url(
        cls,
        url: str,
        *,
        username: str | None = None,
        password: str | None = None,
        names: SettingNames = PLAIN_NAMES,
    ) -> Self:
        """Read a URL, and a login where the URL has none.

        Raises ``ValueError``, naming the setting and never the password, where one cannot be used.
        """
        setting = names("smtp_url")
        try:
            parts = urlsplit(url)
            port = parts.port
            (parts.hostname or "").encode("idna")  # the form in which the name is resolved
        except ValueError:
            raise ValueError(f"{setting} is not a mail server's address: {_FORM}") from None
        if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
            raise ValueError(f"{setting} does not name a mail server: {_FORM}")
        if parts.path.strip("/") or parts.query or parts.fragment:
            raise ValueError(f"{setting} has something after the port: {_FORM}")
        in_url = tuple(unquote(part) if part else None for part in (parts.username, parts.password))
        if None in in_url and in_url != (None, None):
            raise ValueError(f"{setting} has a user without a password, or the reverse: {_FORM}")
        apart = (username or None, password or None)
        if None in apart and apart != (None, None):
            present, missing = ("smtp_username", "smtp_password") if apart[0] else ("smtp_password", "smtp_username")
            raise ValueError(f"{names(present)} is set without {names(missing)}: a login needs both")
        login = f"{names('smtp_username')} and {names('smtp_password')}"
        if None not in in_url and None not in apart:
            raise ValueError(
                f"{setting} has a user and a password, and so have {login}: leave them out of one of the two"
            )
        where = f"{setting} has" if apart == (None, None) else f"{login} have"
        user, secret = in_url if apart == (None, None) else apart
        if not (user or "").isascii() or not (secret or "").isascii():
            raise ValueError(f"{where} characters outside ASCII in the user or the password: SMTP has no way for them")
        return cls(parts.scheme, parts.hostname, port or _DEFAULT_PORTS[parts.scheme], user, secret, names)
