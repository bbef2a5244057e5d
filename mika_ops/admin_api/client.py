"""Mika's admin API over HTTP: releasing expired reservations, and replaying payment webhooks.

Every call carries the header ``Idempotency-Key``, without which Mika refuses it. A call is retried if the connection
failed or the site says that a retry may help, and repeated until its deadline while its first attempt still runs on the
site; its key stays the same. Source: behaviour, section 10.
"""

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any, Final, Self

from tenacity import RetryCallState, Retrying, retry_if_exception_type, wait_exponential_jitter

from mika_ops.admin_api.responses import (
    AdminApiError,
    AdminApiInProgress,
    AdminApiRefusal,
    AdminApiUnavailable,
    data_of,
    refusal_in,
    released_in,
    replayed_in,
)
from mika_ops.admin_api.transport import AccessToken, SiteConnection
from mika_ops.clock import utc_now
from mika_ops.deadline import Deadline
from mika_ops.ports.admin_api import ReplayedWebhook, idempotency_key
from mika_ops.ports.stock import ReleasedReservations
from mika_ops.setting_names import PLAIN_NAMES, SettingNames
from mika_ops.timestamps import Timestamp

__all__ = ["AdminApiError", "MikaAdminApi"]

ATTEMPTS: Final = 3

LONGEST_WAIT_SECONDS: Final = 10.0
"""How long one call waits between its attempts, in total: what takes longer is left to the next run."""

IN_PROGRESS_SECONDS: Final = 2.0
"""The longest wait before the site is asked again about a call that it is still doing."""

_PATH: Final = "/_emdash/api/plugins/mika/admin/"
_RELEASE: Final = "stock/release-expired-reservations"
_REPLAY: Final = "webhooks/replay"

_NO_WEBHOOK: Final = "mika-ops-check"
"""An id that no webhook has: Mika's own ids begin with ``webhook_``."""

_backoff: Final = wait_exponential_jitter(multiplier=0.5, max=4.0, jitter=0.5)


class MikaAdminApi:
    """The admin API of one site. Fits ``mika_ops.ports.AdminApi``; the connection is reused and closed at the end."""

    def __init__(
        self,
        site_url: str,
        token: str,
        *,
        timeout_seconds: float,
        names: SettingNames = PLAIN_NAMES,
        sleep: Callable[[float], None] = time.sleep,
        timer: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        """``site_url`` is the site's address, without the API's path; ``token`` an EmDash token with scope admin.

        ``timeout_seconds`` is for a whole call, with all its attempts and the waits between them.
        """
        self._token = AccessToken(token)
        self._site = SiteConnection(site_url, self._token, names)
        self._timeout_seconds = timeout_seconds
        self._names = names
        self._sleep = sleep
        self._timer = timer
        self._now = now
        self._throttled_until = -math.inf

    def release_expired_reservations(self, *, now: Timestamp, idempotency_key: str) -> ReleasedReservations:
        """Have the site release the reservations that had expired by ``now``. Raises ``AdminApiError``."""
        data = self._data(_RELEASE, {"now": now}, idempotency_key)
        error = refusal_in(_RELEASE, data, redact=self._token.redact)
        if error is not None:
            raise AdminApiError(error)
        return released_in(data)

    def replay_webhook(self, webhook_id: str, *, idempotency_key: str) -> ReplayedWebhook:
        """Have the site replay a payment webhook. Raises ``AdminApiError`` where the site refuses or is not there."""
        data = self._data(_REPLAY, {"webhookId": webhook_id}, idempotency_key)
        return replayed_in(_REPLAY, data, redact=self._token.redact)

    def check(self) -> None:
        """Check that the site accepts calls, in one attempt. Changes nothing.

        It asks to replay a webhook that does not exist, which must be answered by Mika's own 404. This verifies all
        that a real call needs: the address, the certificate, the token, its user's role, its scope, the plugin, the
        header with the key, and Mika's storage. Mika records no such call (source: behaviour, section 10).

        Raises ``AdminApiError`` with the sentence of what is wrong and what to set.
        """
        try:
            self._data(_REPLAY, {"webhookId": _NO_WEBHOOK}, _NO_WEBHOOK, attempts=1)
        except AdminApiRefusal as error:
            if error.refusal.is_mika and error.refusal.status == HTTPStatus.NOT_FOUND:
                return
            raise
        raise AdminApiError(
            f"the admin API accepted {_REPLAY} of a webhook that does not exist: check {self._names('admin_api_url')}, "
            "and which version of Mika the site runs"
        )

    def close(self) -> None:
        """Close the connection."""
        self._site.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _data(self, call: str, body: dict[str, Any], key: str, *, attempts: int = ATTEMPTS) -> dict[str, Any]:
        """Make a call, in several attempts under its key, and return what Mika answered."""
        throttled_for = self._throttled_until - self._timer()
        if throttled_for > 0:
            raise AdminApiError(
                f"the admin API was not sent {call}: it asks to wait {math.ceil(throttled_for)} s: the next run retries"
            )
        posted, key = json.dumps(body).encode(), idempotency_key(key)
        deadline = Deadline.within(self._timeout_seconds, self._timer)
        retrying = Retrying(
            stop=_Patience(attempts, deadline).is_over,
            wait=_wait,
            retry=retry_if_exception_type(AdminApiUnavailable),
            sleep=self._sleep,
            reraise=True,
        )
        for attempt in retrying:
            with attempt:
                return self._attempt(call, posted, key, deadline)
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _attempt(self, call: str, posted: bytes, key: str, deadline: Deadline) -> dict[str, Any]:
        left = max(deadline.seconds_left(), 0.001)
        answer = self._site.post(call, _PATH + call, posted, key=key, within_seconds=left)
        try:
            data = data_of(call, answer, redact=self._token.redact, now=self._now(), names=self._names)
        except AdminApiUnavailable as unavailable:
            if unavailable.throttled and unavailable.wait_seconds is not None:
                self._throttled_until = self._timer() + unavailable.wait_seconds
            raise
        self._throttled_until = -math.inf
        return data


@dataclass
class _Patience:
    """When a call is given up: after some failed attempts and waits, but at its deadline where it is in progress."""

    attempts: int
    deadline: Deadline
    failed: int = 0
    waited: float = 0.0

    def is_over(self, state: RetryCallState) -> bool:
        """Say so after an attempt that did not succeed; ``state`` has the wait before the next one."""
        if not isinstance(_error_in(state), AdminApiInProgress):
            self.failed += 1
            self.waited += state.upcoming_sleep
        is_exhausted = self.failed >= self.attempts or self.waited > LONGEST_WAIT_SECONDS
        return is_exhausted or state.upcoming_sleep >= self.deadline.seconds_left()


def _wait(state: RetryCallState) -> float:
    error = _error_in(state)
    asked = error.wait_seconds if isinstance(error, AdminApiUnavailable) else None
    pause = min(_backoff(state), IN_PROGRESS_SECONDS) if isinstance(error, AdminApiInProgress) else _backoff(state)
    return max(asked or 0.0, pause)


def _error_in(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome is not None else None
