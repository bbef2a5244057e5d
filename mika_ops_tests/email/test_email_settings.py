"""The settings of email delivery: invalid values are rejected at the start, and valid ones take effect."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from mika_ops.assembly import open_host
from mika_ops.clock import Clock
from mika_ops.config.errors import SettingsError
from mika_ops.config.loading import isolated_settings, load_settings
from mika_ops.config.shop import Shop
from mika_ops.deadline import never_out_of_time
from mika_ops.email.outbox.outbox import LeasedOutbox
from mika_ops.email.smtp.sender import SmtpSender
from mika_ops.store.database import Database
from mika_ops_testing.builders import email, put
from mika_ops_testing.smtp_server import accepting, mail_server

SHOP = {"database_url": "sqlite:///shop.db", "smtp_url": "smtp://mail.test", "email_from": "shop@shop.test"}


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"email_from": "Tea House"}, "MIKA_EMAIL_FROM is not one mail address"),
        ({"email_reply_to": "help@"}, "MIKA_EMAIL_REPLY_TO is not one mail address"),
        ({"email_reply_to": "help@shop.test\r\nBcc: eve@shop.test"}, "MIKA_EMAIL_REPLY_TO is not one mail address"),
        ({"email_bounce_address": "a@b.test, c@d.test"}, "MIKA_EMAIL_BOUNCE_ADDRESS is not one mail address"),
        ({"smtp_url": "mail.test"}, "MIKA_SMTP_URL does not name a mail server"),
        ({"smtp_username": "canary"}, "MIKA_SMTP_USERNAME is set without MIKA_SMTP_PASSWORD"),
        ({"smtp_password": "canary"}, "MIKA_SMTP_PASSWORD is set without MIKA_SMTP_USERNAME"),
        (
            {"smtp_url": "smtp://canary:canary@mail.test", "smtp_username": "canary", "smtp_password": "canary"},
            "MIKA_SMTP_URL has a user and a password, and so have MIKA_SMTP_USERNAME and MIKA_SMTP_PASSWORD",
        ),
        (
            {"smtp_url": None, "smtp_username": "canary", "smtp_password": "canary"},
            "MIKA_SMTP_USERNAME or MIKA_SMTP_PASSWORD is set without MIKA_SMTP_URL",
        ),
        ({"email_concurrency": 0}, "MIKA_EMAIL_CONCURRENCY: "),
        ({"email_concurrency": 65}, "MIKA_EMAIL_CONCURRENCY: "),
        ({"email_max_per_second": 0}, "MIKA_EMAIL_MAX_PER_SECOND: "),
        ({"smtp_messages_per_connection": 0}, "MIKA_SMTP_MESSAGES_PER_CONNECTION: "),
        ({"smtp_connect_timeout_seconds": 0}, "MIKA_SMTP_CONNECT_TIMEOUT_SECONDS: "),
        (
            {"email_lease_minutes": 1, "smtp_connect_timeout_seconds": 15},
            "MIKA_EMAIL_LEASE_MINUTES is too short for MIKA_SMTP_CONNECT_TIMEOUT_SECONDS and",
        ),
    ],
)
def test_what_cannot_be_used_is_refused_by_the_name_of_its_variable(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SettingsError) as error:
        load_settings(**{**SHOP, **values})
    assert str(error.value).startswith(sentence)
    assert "canary" not in str(error.value)


def test_a_lease_may_be_as_long_as_both_time_outs_twice() -> None:
    assert load_settings(**SHOP, email_lease_minutes=1).email_lease_minutes == 1


@contextmanager
def outbox_with(url: str, **values: Any) -> Iterator[LeasedOutbox]:
    settings = isolated_settings(database_url=url, email_from="Shop <shop@shop.test>", **values)
    with open_host(Shop(settings)) as host:
        assert isinstance(host.email_outbox, LeasedOutbox)
        yield host.email_outbox


def test_the_pace_of_the_drain_is_as_set(url: str) -> None:
    with outbox_with(url, smtp_url="smtp://127.0.0.1:1", email_concurrency=3, email_max_per_second=2.5) as outbox:
        assert (outbox.concurrency, outbox.max_per_second) == (3, 2.5)
    with outbox_with(url, smtp_url="smtp://127.0.0.1:1") as outbox:
        assert (outbox.concurrency, outbox.max_per_second) == (8, None)
        assert isinstance(outbox.sender, SmtpSender)


def test_an_email_is_sent_as_all_of_the_settings_say(database: Database, url: str, clock: Clock) -> None:
    put(database, "ops", *(email(f"email_{number}") for number in range(5)))
    with mail_server(**accepting("shop", "s3cret")) as mailroom:
        with outbox_with(
            url,
            smtp_url=f"smtp://127.0.0.1:{mailroom.port}",
            smtp_username="shop",
            smtp_password="s3cret",
            smtp_messages_per_connection=2,
            email_reply_to="Help <help@shop.test>",
            email_bounce_address="bounces@shop.test",
            email_concurrency=1,
        ) as outbox:
            assert outbox.drain(clock, limit=None, out_of_time=never_out_of_time).sent == 5
        assert mailroom.connections == 3
    assert {delivery.mail_from for delivery in mailroom.deliveries} == {"bounces@shop.test"}
    assert {str(message["Reply-To"]) for message in mailroom.messages} == {"Help <help@shop.test>"}
