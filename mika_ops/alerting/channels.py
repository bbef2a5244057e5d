"""Delivering alerts: over the addresses of ``MIKA_ALERT_URLS``, by Apprise, or into the log.

The addresses hold passwords and tokens, so nothing here shows one, and what Apprise logs meanwhile is kept back.
"""

import logging
import re
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, Final
from urllib.parse import unquote

from pydantic import SecretStr

from mika_ops.config.errors import SettingsError
from mika_ops.config.shop import Shop
from mika_ops.deadline import run_within
from mika_ops.ports.alerts import Alert, AlertSink
from mika_ops.redaction import redact
from mika_ops.setting_names import PLAIN_NAMES, SettingNames

logger: Final = logging.getLogger("mika_ops.alerts")

SOCKET_SECONDS: Final = 10.0
"""The longest that connecting, or waiting for the next bytes, may take, whatever the address asks for."""

SEND_SECONDS: Final = 15.0
"""The longest that one delivery may take: a server that answers a byte at a time keeps nobody waiting."""

_SHORTEST_SECRET: Final = 3
_ALERT_LOGGERS: Final = ("apprise", "urllib3.connectionpool", "urllib3.util.retry")


class NotDelivered(Exception):
    """An alert could not be delivered. The message says over which address, by its number, and why."""


class LoggedAlerts:
    """Logs every alert: an error where something is wrong, else an information. Fits ``mika_ops.ports.AlertSink``."""

    def send(self, alert: Alert) -> None:
        """Log an alert, and its link where it has one."""
        level = logging.INFO if alert.kind in ("recovered", "test") else logging.ERROR
        logger.log(level, "%s", _body(alert, " "))


class AppriseAlerts:
    """Delivers alerts over one of the addresses. Fits ``mika_ops.ports.AlertSink``."""

    def __init__(
        self, url: SecretStr, *, number: int = 1, names: SettingNames = PLAIN_NAMES, send_seconds: float = SEND_SECONDS
    ) -> None:
        """``number``: which of the variable's addresses it is, from 1. Raises ``SettingsError`` for one that is none.

        ``send_seconds``: the longest that one delivery may take.
        """
        variable = names("alert_urls")
        self._url = url
        self._name = f"number {number} of {variable}"
        self._send_seconds = send_seconds
        with _kept_back():
            if _plugin(url) is None:
                raise SettingsError(
                    f"{variable}: number {number} is no address that Apprise knows, or lacks a part: see "
                    "https://appriseit.com for how each is written"
                )

    def send(self, alert: Alert) -> None:
        """Deliver an alert. Raises ``NotDelivered`` where the receiver did not take it, or not in time."""
        try:
            taken, reasons = run_within(self._send_seconds, lambda: self._delivered(alert))
        except TimeoutError:
            raise NotDelivered(f"{self._name} took longer than {self._send_seconds:g} seconds") from None
        if not taken:
            why = f": {self._safe(reasons[0])}" if reasons else ""
            raise NotDelivered(f"{self._name} did not take it{why}")

    def _delivered(self, alert: Alert) -> tuple[bool, list[str]]:
        import apprise

        kind = {"opened": "failure", "reminder": "warning", "recovered": "success", "test": "info"}[alert.kind]
        with _kept_back() as reasons:
            try:
                # Made anew for each alert: a plugin that is kept waits for seconds between two of them.
                plugin = _plugin(self._url)
                taken = plugin is not None and plugin.notify(
                    body=_body(alert, "\n"), title=alert.title or alert.job, notify_type=apprise.NotifyType(kind)
                )
            except Exception as error:  # noqa: BLE001 - a plugin may raise anything
                return False, [*reasons, str(error) or type(error).__name__]
            return bool(taken), reasons

    def _safe(self, reason: str) -> str:
        """Return what Apprise says without any part of the address, for all of them may be secrets."""
        url = self._url.get_secret_value().partition("://")[2]
        parts = {
            part for text in (url, unquote(url)) for part in (*re.split(r"\W+", text), *re.split(r"[/:?&=]", text))
        }
        for part in sorted(parts, key=len, reverse=True):
            if len(part) >= _SHORTEST_SECRET:
                reason = re.sub(re.escape(part), "…", reason, flags=re.IGNORECASE)
        return redact(reason)


def channels(shop: Shop) -> Sequence[AlertSink]:
    """Return the channels of the settings: one for each address of ``MIKA_ALERT_URLS``, or the log if there is none.

    Raises ``SettingsError``, naming the variable and the number of the
    wrong address and nothing of it.
    """
    urls = enumerate(shop.settings.alert_urls, start=1)
    return [AppriseAlerts(url, number=number, names=shop.names) for number, url in urls] or [LoggedAlerts()]


def _body(alert: Alert, between: str) -> str:
    return alert.sentence if alert.url is None else f"{alert.sentence}{between}{alert.url}"


def _plugin(url: SecretStr) -> Any:
    import apprise

    asset = apprise.AppriseAsset(async_mode=False, app_id="mika-ops", app_desc="mika-ops", app_url="")
    plugin = apprise.Apprise.instantiate(url.get_secret_value(), asset=asset, suppress_exceptions=True)
    if plugin is not None:
        plugin.socket_connect_timeout = min(plugin.socket_connect_timeout, SOCKET_SECONDS)
        plugin.socket_read_timeout = min(plugin.socket_read_timeout, SOCKET_SECONDS)
    return plugin


class _Delivery(threading.local):
    """Whether this thread is delivering an alert, and what was logged of it."""

    reasons: list[str] | None = None


_delivery: Final = _Delivery()


@contextmanager
def _kept_back() -> Iterator[list[str]]:
    """Keep what this thread's delivery logs out of the log; yield its warnings as they come."""
    _loaded()
    before, _delivery.reasons = _delivery.reasons, []
    try:
        yield _delivery.reasons
    finally:
        _delivery.reasons = before


@cache
def _loaded() -> None:
    """Load Apprise with its plugins, one of which uses what Python is about to drop, and listen to what they log."""
    for name in _ALERT_LOGGERS:
        logging.getLogger(name).addFilter(_is_elsewhere)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import apprise

        apprise.Apprise.instantiate("json://localhost")


def _is_elsewhere(record: logging.LogRecord) -> bool:
    if _delivery.reasons is None:
        return True
    if record.levelno >= logging.WARNING:
        _delivery.reasons.append(record.getMessage())
    return False
