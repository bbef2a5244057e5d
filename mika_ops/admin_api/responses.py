"""Reads the site's answers: Mika's envelope in both of its forms, EmDash's own errors, and anything else.

Source: behaviour, section 10.
"""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Final

from mika_ops.admin_api.refusals import Refusal, remedy_for
from mika_ops.ports.admin_api import ReplayedWebhook
from mika_ops.ports.stock import ReleasedReservations
from mika_ops.setting_names import PLAIN_NAMES, SettingNames

LONGEST_WORDS: Final = 200
"""How much is shown of what a site says about a refusal, in characters: what to do about it comes after that."""

_ACCEPTED: Final = ("completed", "queued", "running")
"""The statuses of a call that the site accepted; ``failed`` and ``unsupported`` are refusals."""

_TEMPORARY: Final = frozenset(
    {
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.BAD_GATEWAY,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT,
    }
)


class AdminApiError(Exception):
    """The site refused a call or cannot be reached. The message never holds the token."""


class AdminApiRefusal(AdminApiError):
    """The site answered, and would answer the same call in the same way."""

    def __init__(self, message: str, refusal: Refusal) -> None:
        super().__init__(message)
        self.refusal = refusal


class AdminApiUnavailable(AdminApiError):
    """The same call may succeed later.

    ``wait_seconds``: how long the site asks to wait, if it does; ``throttled``: the wait is for all calls.
    """

    def __init__(self, message: str, *, wait_seconds: float | None = None, throttled: bool = False) -> None:
        super().__init__(message)
        self.wait_seconds = wait_seconds
        self.throttled = throttled


class AdminApiInProgress(AdminApiUnavailable):
    """The first call with this key still runs on the site."""


@dataclass(frozen=True)
class Answer:
    """One HTTP answer. ``retry_after`` is the header of that name: seconds, or a date."""

    status: int
    body: bytes
    retry_after: str | None = None


def data_of(
    call: str, answer: Answer, *, redact: Callable[[str], str], now: datetime, names: SettingNames = PLAIN_NAMES
) -> dict[str, Any]:
    """Return the ``data`` of Mika's envelope, which is at the top of the answer or one level down.

    ``redact`` makes what the site says safe to show; ``now`` is what a date in ``Retry-After`` is compared with. Raises
    ``AdminApiInProgress`` where the first call with the key still runs, ``AdminApiUnavailable`` where a retry may
    succeed, ``AdminApiRefusal`` for any other refusal.
    """
    answered = _json_object(answer.body)
    envelope = _envelope(answered)
    is_success = HTTPStatus(200) <= answer.status < HTTPStatus(300)
    if envelope.get("ok") is True and is_success:
        return _object(envelope.get("data"))
    error = _object(envelope.get("error")) or _object((answered or {}).get("error"))
    refusal = Refusal(
        call,
        _status_in(envelope) if envelope.get("ok") is False and is_success else answer.status,
        _text(error.get("code")),
        _text(error.get("message")),
        {str(name): _text(value) for name, value in _object(error.get("fieldErrors")).items()},
        is_json=answered is not None,
        is_mika="ok" in envelope,
    )
    remedy = remedy_for(refusal)
    reaction = "give up" if remedy is None else remedy.reaction
    waits = (_seconds(error.get("retryAfter")), _seconds_of_header(answer.retry_after, now))
    asked = [wait for wait in waits if wait is not None]
    asks_to_wait = refusal.status in _TEMPORARY or _seconds(error.get("retryAfter")) is not None
    wait = max(asked) if asked and asks_to_wait else None
    sentence = _sentence(refusal, redact) + ("" if remedy is None else f"; {remedy.words(names)}")
    if wait is not None:
        sentence += f"; it asks to wait {math.ceil(wait)} s: the next run retries"
    if reaction == "wait":
        raise AdminApiInProgress(sentence, wait_seconds=wait)
    if reaction == "retry" or asks_to_wait:
        is_throttled = refusal.status == HTTPStatus.TOO_MANY_REQUESTS
        raise AdminApiUnavailable(sentence, wait_seconds=wait, throttled=is_throttled)
    raise AdminApiRefusal(sentence, refusal)


def replayed_in(call: str, data: dict[str, Any], *, redact: Callable[[str], str]) -> ReplayedWebhook:
    """Return what a replay did. Mika calls a webhook that is not eligible completed, and processes nothing."""
    status, message = data.get("status"), data.get("message")
    if status in ("queued", "running"):
        return ReplayedWebhook(ok=True, unprocessed="running")
    if status == "completed":
        is_processed = _object(data.get("affected")).get("processed") != 0
        return ReplayedWebhook(ok=True, unprocessed=None if is_processed else "not_eligible")
    if status == "failed" and not message:
        return ReplayedWebhook(ok=False)
    return ReplayedWebhook(ok=False, error=refusal_in(call, data, redact=redact))


def refusal_in(call: str, data: dict[str, Any], *, redact: Callable[[str], str]) -> str | None:
    """Return the sentence about a call that the site refused, or ``None`` where it accepted it."""
    status = data.get("status")
    if status in _ACCEPTED:
        return None
    message = data.get("message")
    detail = f": {redact(message)}" if isinstance(message, str) and message else ""
    return f"the admin API answered {call} with status {redact(str(status))}{detail}"


def released_in(data: dict[str, Any]) -> ReleasedReservations:
    """Return what a release affected; a count that the site leaves out is 0."""
    affected = _object(data.get("affected"))
    return ReleasedReservations(
        scanned=_count(affected.get("reservationsScanned")),
        released=_count(affected.get("reservationsReleased")),
        stock_items=_count(affected.get("stockItems")),
    )


def _json_object(body: bytes) -> dict[str, Any] | None:
    try:
        answered = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return answered if isinstance(answered, dict) else None


def _envelope(answered: dict[str, Any] | None) -> dict[str, Any]:
    if answered is None or "ok" in answered:
        return answered or {}
    return _object(answered.get("data"))


def _sentence(refusal: Refusal, redact: Callable[[str], str]) -> str:
    if not refusal.is_json:
        return f"the admin API answered {refusal.call} with {refusal.status} and no JSON object"
    words = ", ".join([str(refusal.status), *(redact(text) for text in (refusal.code, refusal.message) if text)])
    if refusal.field_errors:
        words += f" ({'; '.join(redact(f'{name}: {error}') for name, error in refusal.field_errors.items())})"
    shown = words if len(words) <= LONGEST_WORDS else f"{words[: LONGEST_WORDS - 1]}…"
    return f"the admin API refused {refusal.call}: {shown}"


def _status_in(envelope: dict[str, Any]) -> int:
    status = envelope.get("status")
    return status if isinstance(status, int) else HTTPStatus.OK


def _seconds_of_header(retry_after: str | None, now: datetime) -> float | None:
    if retry_after is None:
        return None
    try:
        date = parsedate_to_datetime(retry_after)
    except ValueError:
        return _seconds(retry_after)
    return max((date.replace(tzinfo=date.tzinfo or UTC) - now).total_seconds(), 0.0)


def _seconds(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        seconds = float(value)
    except (ValueError, OverflowError):
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
