"""A host may bring its own sender, retry delays, brand and account pages, and keep the outbox of the settings."""

from datetime import timedelta
from typing import Any

import pytest

from mika_ops import EmailOverrides, Host, build_definitions
from mika_ops.config.loading import isolated_settings
from mika_ops.email.content.brand import Brand
from mika_ops.ports.email import Envelope
from mika_ops.store.opening import open_database
from mika_ops.timestamps import to_datetime
from mika_ops_testing.builders import NOW, email, get, put
from mika_ops_testing.fakes import Provider


def run(url: str, parts: EmailOverrides, **settings: Any) -> None:
    definitions = build_definitions(host=Host(email=parts), settings=isolated_settings(database_url=url, **settings))
    config = {"now": NOW, "subtasks": ["email_outbox"]}
    assert definitions.resolve_job_def("mika_maintenance").execute_in_process(run_config=config).success


@pytest.fixture
def shop(url: str) -> str:
    with open_database(url) as database:
        put(database, "ops", email())
    return url


def test_a_sender_of_ones_own_takes_the_place_of_smtp(shop: str) -> None:
    provider = Provider()
    run(shop, EmailOverrides(sender=provider))
    assert provider.ids == ["email_1"]


def test_a_retry_delay_of_ones_own_decides_when_a_failed_email_is_tried_again(shop: str) -> None:
    def refuse(_envelope: Envelope) -> None:
        raise OSError("451 not now")

    run(shop, EmailOverrides(sender=Provider(refuse), retry_delay=lambda attempt: timedelta(days=attempt)))
    with open_database(shop) as database:
        record = get(database, "ops", "email_1")["record"]
    assert to_datetime(record["nextAttemptAt"]) - to_datetime(record["createdAt"]) > timedelta(days=1)
    assert record["status"] == "failed"


def test_a_brand_of_ones_own_signs_the_emails(shop: str) -> None:
    provider = Provider()
    parts = EmailOverrides(sender=provider, brand=lambda document: Brand(f"Shop of {document['id']}"))
    run(shop, parts, site_name="Not this one")
    (envelope,) = provider.taken
    assert "Shop of email_1" in envelope.text
    assert "Not this one" not in envelope.text


def test_an_account_page_of_ones_own_is_linked_in_the_emails(shop: str) -> None:
    provider = Provider()
    run(shop, EmailOverrides(sender=provider, account_url=lambda document: f"https://shop.example/{document['id']}"))
    assert "https://shop.example/email_1" in provider.taken[0].text
