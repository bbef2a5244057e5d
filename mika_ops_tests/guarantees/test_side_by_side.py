"""Maintenance beside the site's own cron, as while a shop moves to it: no email is lost, and none is sent twice."""

import json
import smtplib
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from email.message import EmailMessage
from pathlib import Path
from threading import Event, Thread

import pytest
from sqlalchemy import create_engine, text

from mika_ops.clock import utc_now
from mika_ops.rules import email
from mika_ops.timestamps import to_timestamp
from mika_ops_testing.shop_at_work import shop_at_work
from mika_ops_testing.smtp_server import Mailroom
from mika_ops_testing.waiting import wait_until
from mika_ops_tests.guarantees.runner import runner

pytestmark = pytest.mark.thorough  # a shop at work, drained by two programs at once

LEASE = timedelta(minutes=5)
COPIES = 5
HEAD_START = 20
"""So many emails the site sends by itself; then it waits until maintenance is at it too."""

READ = text("SELECT id, data FROM _plugin_storage WHERE collection = 'ops' ORDER BY id")
SWAP = text("UPDATE _plugin_storage SET data = :new WHERE collection = 'ops' AND id = :id AND data = :old")


@dataclass
class SitesCron:
    """The site's own drain of the outbox: one email after the other, leased, sent and recorded, each step atomic."""

    url: str
    mailroom: Mailroom
    sent: list[str] = field(default_factory=list)
    ended: Event = field(default_factory=Event)

    def work(self) -> None:
        engine = create_engine(self.url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection, smtplib.SMTP("127.0.0.1", self.mailroom.port) as provider:
            now = to_timestamp(utc_now())
            for id_, read in connection.execute(READ).all():
                document = json.loads(read)
                if document["type"] != "email" or not email.DUE.at(now).takes(document):
                    continue
                leased = email.leased(document, key=f"site-{id_}", now=now, lease=LEASE)
                if not connection.execute(SWAP, {"id": id_, "old": read, "new": json.dumps(leased)}).rowcount:
                    continue
                message = EmailMessage()
                message["From"], message["To"] = "shop@example.test", document["record"]["toEmail"]
                message["Message-ID"] = f"<{id_}@site.example.test>"
                provider.send_message(message)
                self.sent.append(id_)
                done = email.sent(leased, now=to_timestamp(utc_now()), provider_message_id=None)
                connection.execute(SWAP, {"id": id_, "old": json.dumps(leased), "new": json.dumps(done)})
                if len(self.sent) == HEAD_START:
                    wait_until(lambda: len(self.mailroom.deliveries) > HEAD_START, what="maintenance")
        engine.dispose()
        self.ended.set()


def test_beside_the_sites_own_cron_every_email_is_sent_once(url: str, tmp_path: Path) -> None:
    with shop_at_work(url, copies=COPIES) as world, runner(tmp_path / "home") as runs:
        due = sum('"status": "queued"' in row["data"] for row in world.state()["_plugin_storage"].values())
        site = SitesCron(url, world.mailroom)
        thread = Thread(target=site.work)
        thread.start()
        wait_until(lambda: len(site.sent) == HEAD_START, what="the site's cron")
        assert runs.start(world.settings, now=to_timestamp(utc_now())).wait() == 0
        thread.join()
        assert site.ended.is_set()
        assert runs.start(world.settings, now=to_timestamp(utc_now())).wait() == 0

        arrived = Counter(str(message["To"]) for message in world.mailroom.messages)
        assert set(arrived.values()) == {1}
        assert HEAD_START <= len(site.sent) < len(arrived) <= due
        emails = [json.loads(row["data"]) for row in world.state()["_plugin_storage"].values()]
        emails = [each for each in emails if each["type"] == "email" and each["id"].startswith("email_")]
        assert {each["status"] for each in emails} == {"sent"}
        assert not any("leaseKey" in each["record"] for each in emails)
        assert len(arrived) == len(emails)
