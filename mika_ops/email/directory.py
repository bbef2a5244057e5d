"""Writes emails into a folder instead of sending them: for trials, or for a mail system that reads files."""

import re
import tempfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Final

from mika_ops.clock import utc_now
from mika_ops.email.address import sender_mailbox
from mika_ops.email.message import build_message, digest
from mika_ops.ports.email import Envelope, SendResult
from mika_ops.setting_names import PLAIN_NAMES, SettingNames
from mika_ops.timestamps import to_timestamp

LONGEST_ID_IN_NAME: Final = 100

_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._-]")


class FileSink:
    """An ``EmailSender`` that writes each email as ``<time>-<id>.eml``, readable by its owner only.

    ``sender`` and ``reply_to`` are the values of ``From`` and ``Reply-To``; raises ``ValueError``, which names the
    setting, if one is not an address. The folder is created with the first email.
    """

    def __init__(
        self,
        directory: Path,
        *,
        sender: str,
        reply_to: str | None = None,
        names: SettingNames = PLAIN_NAMES,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        if reply_to is not None:
            sender_mailbox(reply_to, setting=names("email_reply_to"))
        self._directory = directory
        self._sender = sender
        self._reply_to = reply_to
        self._message_id_domain = sender_mailbox(sender, setting=names("email_from")).domain
        self._now = now

    def send(self, envelope: Envelope) -> SendResult:
        """Write an email atomically; the result holds the name of the file.

        Raises ``ValueError`` if the recipient is not an address, ``OSError`` if the folder cannot be written.
        """
        now = self._now()
        message = build_message(
            envelope,
            sender=self._sender,
            reply_to=self._reply_to,
            message_id_domain=self._message_id_domain,
            date=now,
        )
        name = f"{to_timestamp(now).replace(':', '')}-{_safe(envelope.email_id)}.eml"
        self._directory.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=self._directory, suffix=".tmp", delete=False) as file:
            try:
                file.write(message.as_bytes())
                file.close()
                Path(file.name).replace(self._directory / name)
            except BaseException:
                Path(file.name).unlink()
                raise
        return SendResult(provider_message_id=name)


def _safe(email_id: str) -> str:
    safe = _UNSAFE.sub("_", email_id)[:LONGEST_ID_IN_NAME]
    return safe if safe == email_id else f"{safe}-{digest(email_id)[:8]}"
