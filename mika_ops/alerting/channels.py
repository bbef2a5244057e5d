"""Delivering alerts: over the addresses of ``MIKA_ALERT_URLS``, by Apprise, or into the log.

The addresses hold passwords and tokens, so no message shows one, and what Apprise logs meanwhile is withheld.
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
"""The longest that connecting, or waiting for the next bytes, may take, whatever the address sets."""

SEND_SECONDS: Final = 15.0
"""The longest that one delivery may take, even if a server answers byte by byte."""

_SHORTEST_SECRET: Final = 3
_ALERT_LOGGERS: Final = ("apprise", "urllib3.connectionpool", "urllib3.util.retry")


class NotDelivered(Exception):
    """An alert could not be delivered. The message says over which address, by its number, and why."""


class LoggedAlerts:
    """Logs every alert, as an error or, if it is a recovery or a test, as information. Fits ``AlertSink``."""

    def send(self, alert: Alert) -> None:
        """Log an alert, with its link if it has one."""
        level = logging.INFO if alert.kind in ("recovered", "test") else logging.ERROR
        logger.log(level, "%s", _body(alert, " "))


class AppriseAlerts:
    """Delivers alerts to one of the addresses. Fits ``AlertSink``."""

    def __init__(
        self, url: SecretStr, *, number: int = 1, names: SettingNames = PLAIN_NAMES, send_seconds: float = SEND_SECONDS
    ) -> None:
        """``number``: the position of the address in the variable, from 1. Raises ``SettingsError`` if it is invalid.

        ``send_seconds``: the longest that one delivery may take.
        """
        variable = names("alert_urls")
        self._url = url
        self._name = f"number {number} of {variable}"
        self._send_seconds = send_seconds
        with _withheld_logs():
            if _plugin(url) is None:
                raise SettingsError(
                    f"{variable}: number {number} is no address that Apprise knows, or lacks a part: see "
                    "https://appriseit.com for how each is written"
                )

    def send(self, alert: Alert) -> None:
        """Deliver an alert. Raises ``NotDelivered`` if the receiver did not accept it, or not in time."""
        try:
            accepted, reasons = run_within(self._send_seconds, lambda: self._notify(alert))
        except TimeoutError:
            raise NotDelivered(f"{self._name} took longer than {self._send_seconds:g} seconds") from None
        if not accepted:
            reason = f": {self._safe(reasons[0])}" if reasons else ""
            raise NotDelivered(f"{self._name} did not accept it{reason}")

    def _notify(self, alert: Alert) -> tuple[bool, list[str]]:
        import apprise

        kind = {"opened": "failure", "reminder": "warning", "recovered": "success", "test": "info"}[alert.kind]
        with _withheld_logs() as reasons:
            try:
                # A new plugin for each alert: a plugin that is reused waits for seconds between two alerts.
                plugin = _plugin(self._url)
                accepted = plugin is not None and plugin.notify(
                    body=_body(alert, "\n"), title=alert.title or alert.job, notify_type=apprise.NotifyType(kind)
                )
            except Exception as error:  # noqa: BLE001 - a plugin may raise anything
                return False, [*reasons, str(error) or type(error).__name__]
            return bool(accepted), reasons

    def _safe(self, reason: str) -> str:
        """Return Apprise's reason without any part of the address, because each part may be a secret."""
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

    Raises ``SettingsError``, which names the variable and the position of an invalid address, and no part of it.
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
    """Whether this thread is delivering an alert, and the warnings that were logged meanwhile."""

    reasons: list[str] | None = None


_delivery: Final = _Delivery()


@contextmanager
def _withheld_logs() -> Iterator[list[str]]:
    """Withhold from the log what this thread's delivery logs; yield the list of its warnings."""
    _load_apprise()
    before, _delivery.reasons = _delivery.reasons, []
    try:
        yield _delivery.reasons
    finally:
        _delivery.reasons = before


@cache
def _load_apprise() -> None:
    """Import Apprise with its plugins, one of which uses a deprecated module, and filter what they log."""
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
