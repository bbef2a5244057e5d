"""A drain in a process of its own, to be killed.

``python -m mika_ops_tests.email.outbox.drain_process DATABASE_URL SMTP_URL MINUTES``: its clock is so many
minutes ahead, so that the leases of a process killed before have lapsed. It prints ``ready`` before its first lease,
``done`` at the end.
"""

import sys
from datetime import timedelta

from mika_ops.clock import Clock, utc_now
from mika_ops.deadline import never_out_of_time
from mika_ops.email.content.renderer import Brand, EmailRenderer
from mika_ops.email.outbox.outbox import LeasedOutbox
from mika_ops.email.smtp.sender import SmtpSender
from mika_ops.store.documents import Documents
from mika_ops.store.opening import open_database

CONCURRENCY = 4


def main(database_url: str, smtp_url: str, minutes: int) -> None:
    ahead = timedelta(minutes=minutes)
    clock = Clock.at(utc_now() + ahead, lambda: utc_now() + ahead)
    with open_database(database_url) as database, SmtpSender(smtp_url, sender="Shop <shop@example.test>") as sender:
        outbox = LeasedOutbox(
            Documents(database, "ops"),
            Documents(database, "ledger"),
            sender,
            EmailRenderer(Brand()),
            concurrency=CONCURRENCY,
        )
        print("ready", flush=True)
        drained = outbox.drain(clock, limit=None, out_of_time=never_out_of_time)
        if drained.error is not None:
            raise SystemExit(drained.error)
        print("done", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
