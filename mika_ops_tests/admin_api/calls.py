"""Calls of the admin API's client, made as tests need them."""

from datetime import UTC, datetime
from typing import Any

import pytest

from mika_ops.admin_api.client import AdminApiError, MikaAdminApi
from mika_ops.redaction import redact

TOKEN = "ec_pat_canary"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
PATH = "/_emdash/api/plugins/mika/admin/webhooks/replay"
IN_TIME = 5.0
SOON = 0.3
"""A time-out in seconds that tests wait for."""

Waits = list[float]


class Timer:
    """A timer that stands still unless a test moves it, or the client sleeps by it."""

    def __init__(self, waits: Waits | None = None) -> None:
        self.seconds = 100.0
        self.waits = [] if waits is None else waits

    def __call__(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.seconds += seconds


def api_of(url: str, waits: Waits | None = None, *, timeout_seconds: float = IN_TIME, **options: Any) -> MikaAdminApi:
    timer = Timer(waits)
    options = {"token": TOKEN, "now": lambda: NOW, "timer": timer, "sleep": timer.sleep, **options}
    return MikaAdminApi(url, timeout_seconds=timeout_seconds, **options)


def replay(url: str, waits: Waits | None = None, **options: Any) -> None:
    with api_of(url, waits, **options) as api:
        assert api.replay_webhook("webhook_1", idempotency_key="run_1:webhook_1").ok


def refused(url: str, waits: Waits | None = None, **options: Any) -> str:
    """Return the sentence of a call that fails: one that stays whole where Dagster keeps it, and without the token."""
    with pytest.raises(AdminApiError) as error:
        replay(url, waits, **options)
    sentence = str(error.value)
    assert redact(sentence) == sentence
    assert "canary" not in sentence
    return sentence
