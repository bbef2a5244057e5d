"""Mika's admin API over HTTP: releasing expired reservations, and replaying payment webhooks.

Source: behaviour, section 10.
"""

from http import HTTPStatus
from typing import Any, Final, Self

import httpx

from mika_ops.ports import ReleasedReservations, ReplayedWebhook
from mika_ops.privacy import redacted
from mika_ops.timestamps import Timestamp

_PATH: Final = "/_emdash/api/plugins/mika/admin/"

_DONE: Final = ("completed", "queued", "running")
"""What the site may answer to a call that it took; ``failed`` and ``unsupported`` are refusals."""


class AdminApiError(Exception):
    """The site refused a call or cannot be reached. The message never holds the token."""


class MikaAdminApi:
    """The admin API of one site. Fits ``mika_ops.ports.AdminApi``; the connection is reused and closed at the end."""

    def __init__(
        self, site_url: str, token: str, *, timeout_seconds: float, transport: httpx.BaseTransport | None = None
    ) -> None:
        """``site_url`` is the site's address, without the API's path; ``token`` an EmDash token with scope admin."""
        self._client = httpx.Client(
            base_url=site_url.rstrip("/") + _PATH,
            headers={"Authorization": f"Bearer {token}", "Accept": "application/json", "X-EmDash-Request": "1"},
            timeout=timeout_seconds,
            transport=transport,
        )

    def release_expired_reservations(self, *, now: Timestamp, idempotency_key: str) -> ReleasedReservations:
        """Have the site release its expired reservations. Raises ``AdminApiError``."""
        call = "stock/release-expired-reservations"
        data = self._data(call, {"now": now, "idempotencyKey": idempotency_key})
        error = _refusal(call, data)
        if error is not None:
            raise AdminApiError(error)
        affected = data.get("affected")
        counts = affected if isinstance(affected, dict) else {}
        return ReleasedReservations(
            scanned=_count(counts, "reservationsScanned"),
            released=_count(counts, "reservationsReleased"),
            stock_items=_count(counts, "stockItems"),
        )

    def replay_webhook(self, webhook_id: str, *, idempotency_key: str) -> ReplayedWebhook:
        """Have the site replay a payment webhook. Raises ``AdminApiError`` where the site refuses or is not there."""
        call = "webhooks/replay"
        error = _refusal(call, self._data(call, {"webhookId": webhook_id, "idempotencyKey": idempotency_key}))
        return ReplayedWebhook(ok=error is None, error=error)

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _data(self, call: str, body: dict[str, Any]) -> dict[str, Any]:
        """Make a call; return the ``data`` of Mika's envelope, which stands at the top or one level down."""
        try:
            response = self._client.post(call, json=body)
        except httpx.HTTPError as error:
            raise AdminApiError(
                f"the admin API did not answer {call} ({type(error).__name__}); check MIKA_ADMIN_API_URL and the site"
            ) from None
        try:
            answer = response.json()
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise AdminApiError(f"the admin API answered {call} with {response.status_code} and no JSON object")
        envelope = answer if "ok" in answer else answer.get("data")
        if isinstance(envelope, dict) and envelope.get("ok") is True and response.is_success:
            data = envelope.get("data")
            return data if isinstance(data, dict) else {}
        refusal = envelope if isinstance(envelope, dict) and "error" in envelope else answer
        raise AdminApiError(f"the admin API refused {call}: {_reason(refusal.get('error'), response.status_code)}")


def _refusal(call: str, data: dict[str, Any]) -> str | None:
    status = data.get("status")
    if status in _DONE:
        return None
    message = data.get("message")
    said = f": {redacted(message)}" if isinstance(message, str) and message else ""
    return f"the admin API answered {call} with status {redacted(str(status))}{said}"


def _reason(error: object, status: int) -> str:
    told = error if isinstance(error, dict) else {}
    parts = [str(status), *(redacted(str(told[key])) for key in ("code", "message") if told.get(key))]
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        parts.append("check MIKA_ADMIN_API_TOKEN and its scope")
    return ", ".join(parts)


def _count(counts: dict[str, Any], name: str) -> int:
    value = counts.get(name)
    return value if isinstance(value, int) else 0
