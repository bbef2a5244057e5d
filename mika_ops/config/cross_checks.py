"""Conditions across several settings: each check returns a sentence if it does not hold."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from mika_ops.config.validators import reveal
from mika_ops.email.smtp.server_url import SmtpServer
from mika_ops.setting_names import SettingNames

if TYPE_CHECKING:
    from mika_ops.config.settings import Settings


def _email_goes_one_way(settings: "Settings", names: SettingNames) -> str | None:
    if settings.smtp_url is None or settings.email_directory is None:
        return None
    both = f"{names('smtp_url')} and {names('email_directory')}"
    return f"{both} are both set: emails can go to one of them only"


def _email_has_a_sender(settings: "Settings", names: SettingNames) -> str | None:
    if settings.smtp_url is None or settings.email_from is not None:
        return None
    return f"{names('smtp_url')} is set without {names('email_from')}: emails need a sender"


def _smtp_login_fits(settings: "Settings", names: SettingNames) -> str | None:
    username, password = reveal(settings.smtp_username), reveal(settings.smtp_password)
    if settings.smtp_url is not None:
        try:
            SmtpServer.from_url(settings.smtp_url.get_secret_value(), username=username, password=password, names=names)
        except ValueError as error:
            return str(error)
    elif username or password:
        login = f"{names('smtp_username')} or {names('smtp_password')}"
        return f"{login} is set without {names('smtp_url')}, the server to log in to"
    return None


def _admin_api_is_whole(settings: "Settings", names: SettingNames) -> str | None:
    if (settings.admin_api_url is None) == (settings.admin_api_token is None):
        return None
    missing = names("admin_api_token" if settings.admin_api_token is None else "admin_api_url")
    return f"{missing} is missing: the admin API needs both its URL and its token"


def _lease_outlasts_sending(settings: "Settings", names: SettingNames) -> str | None:
    if settings.email_lease_minutes * 60 >= 2 * (settings.smtp_connect_timeout_seconds + settings.smtp_timeout_seconds):
        return None
    timeouts = f"{names('smtp_connect_timeout_seconds')} and {names('smtp_timeout_seconds')}"
    return f"{names('email_lease_minutes')} is too short for {timeouts}: a lease must outlast both of them twice"


CROSS_CHECKS: Final[Sequence[Callable[["Settings", SettingNames], str | None]]] = (
    _email_goes_one_way,
    _email_has_a_sender,
    _smtp_login_fits,
    _admin_api_is_whole,
    _lease_outlasts_sending,
)
"""The conditions. Each returns a sentence if it does not hold, or ``None``."""
