"""The code location of ``bench.shards``: a shop whose provider accepts each email after 20 ms, and records it."""

import os
import time
from pathlib import Path

from mika_ops import EmailOverrides, Host, build_definitions
from mika_ops.ports.email import Envelope, SendResult

SENT_FILE = "BENCH_SENT_FILE"
SECONDS_AN_EMAIL = 0.02


class SlowProvider:
    """Accepts every email, and writes its id to a file that all workers share."""

    def send(self, envelope: Envelope) -> SendResult:
        """Accept an email."""
        time.sleep(SECONDS_AN_EMAIL)
        with Path(os.environ[SENT_FILE]).open("a", buffering=1) as file:
            file.write(f"{envelope.email_id}\n")
        return SendResult(f"pm-{envelope.email_id}")


defs = build_definitions(host=Host(email=EmailOverrides(sender=SlowProvider())))
