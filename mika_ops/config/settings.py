"""Every setting, read from environment variables that start with ``MIKA_`` and validated once, together."""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, ValidationInfo, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from mika_ops.config.cron import EVERY_MINUTE, require_cron, require_time_zone
from mika_ops.config.cross_checks import CROSS_CHECKS
from mika_ops.config.errors import SettingProblem
from mika_ops.config.executor import ExecutorSettings
from mika_ops.config.secret_files import SecretFiles
from mika_ops.config.validators import LIMITED_SUBTASKS, require_limits, require_link
from mika_ops.email.address import sender_mailbox
from mika_ops.email.kinds import EXTRA_KINDS, require_extra_kinds
from mika_ops.email.smtp.server_url import SmtpServer
from mika_ops.monitoring.checks import CHECK_NAMES
from mika_ops.monitoring.thresholds import Thresholds
from mika_ops.rules.acp_session import DEFAULT_PURGE_AFTER_HOURS
from mika_ops.rules.webhook import DEFAULT_RETENTION_DAYS
from mika_ops.setting_names import PLAIN_NAMES, PREFIX, SettingNames
from mika_ops.subtasks.subtask import RunOptions


class Settings(ExecutorSettings, Thresholds, BaseSettings):
    """The settings of one shop. A field ``name`` is read from ``MIKA_NAME``; all are optional.

    The environment takes precedence over the file ``.env``, and that over the files of ``MIKA_SECRETS_DIRECTORY``.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=".env",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,  # a value may hold a password
    )

    database_url: SecretStr | None = Field(
        None,
        description="The site's own database: `sqlite:///path/to/data.db` or `postgresql://user:password@host/name`.",
    )
    plugin_id: str = Field(
        "mika", min_length=1, description="The plugin id under which the site stores Mika's documents."
    )

    maintenance_enabled: bool = Field(True, description="`false` registers no schedule; the job can still be launched.")
    maintenance_schedule: Annotated[str, AfterValidator(require_cron)] = Field(
        EVERY_MINUTE, description="The schedule, as a cron string."
    )
    maintenance_timezone: Annotated[str, AfterValidator(require_time_zone)] = Field(
        "UTC", description="The time zone in which the schedule is read."
    )
    time_budget_seconds: float = Field(
        45.0,
        gt=0,
        le=86_400,
        description="How long one run drains, over all subtasks, before it leaves the rest to the next.",
    )
    limits: dict[str, int] = Field(
        {},
        description=(
            'At most so many per run and subtask, as JSON: `{"email_outbox": 25}`. Without one, a subtask drains until '
            "nothing is due or its time is up. Of: " + ", ".join(LIMITED_SUBTASKS) + "."
        ),
    )
    raw_payload_retention_days: float = Field(
        DEFAULT_RETENTION_DAYS,
        ge=0,
        allow_inf_nan=False,
        description="Days for which raw webhook payloads are kept; parts of a day count.",
    )
    acp_session_purge_after_hours: float = Field(
        DEFAULT_PURGE_AFTER_HOURS, ge=0, le=87_600, description="Hours after its expiry when an ACP session is deleted."
    )
    account_delete_scope: Literal["complete", "reference"] = Field(
        "complete",
        description="`reference` deletes what Mika's own maintenance does; `complete` also what that leaves behind.",
    )

    smtp_url: SecretStr | None = Field(
        None, description="The mail server: `smtp://`, `smtp+starttls://` or `smtps://`, `user:password@host:port`."
    )
    smtp_username: SecretStr | None = Field(None, description="The user, where `MIKA_SMTP_URL` has none.")
    smtp_password: SecretStr | None = Field(None, description="The password, where `MIKA_SMTP_URL` has none.")
    smtp_verify_tls: bool = Field(
        True,
        description="`false` accepts any certificate of the mail server: encrypted, but to whom is not known.",
    )
    smtp_connect_timeout_seconds: float = Field(
        10.0,
        gt=0,
        le=600,
        description="The longest that connecting to the mail server may take, encryption and login included.",
    )
    smtp_timeout_seconds: float = Field(
        20.0, gt=0, le=600, description="The longest that sending one email may take, connecting included."
    )
    smtp_messages_per_connection: int = Field(
        100, ge=1, description="How many emails go over one connection before it is replaced."
    )
    email_from: str | None = Field(None, description="The sender of emails: `Shop <orders@shop.example>`.")
    email_reply_to: str | None = Field(
        None, description="Where replies go, in the same form; by default to the sender."
    )
    email_bounce_address: str | None = Field(
        None, description="The address that learns of emails which could not be delivered; by default the sender's."
    )
    email_directory: Path | None = Field(
        None, description="Write emails into this folder as `.eml` files instead of sending them."
    )
    email_lease_minutes: float = Field(
        5.0, gt=0, le=1_440, description="How long an email is held by the worker that sends it."
    )
    email_concurrency: int = Field(
        8, ge=1, le=64, description="At most so many emails are sent at once, each over a connection of its own."
    )
    email_max_per_second: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="At most so many emails are started a second, for a provider that limits it; parts of one count.",
    )

    site_name: str = Field("Our shop", min_length=1, description="The shop's name in emails.")
    support_email: str | None = Field(None, description="The address for questions, shown in emails.")
    account_url: str | None = Field(None, description="The page of a shopper's account, linked in emails.")
    locale: str = Field("en", description="The language and region in which emails write money: `en`, `de_AT`.")
    email_extra_kinds: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description=(
            "Kinds of emails that Mika itself skips and that are to be sent as well, with commas between: "
            + ", ".join(f"`{kind}`" for kind in EXTRA_KINDS)
            + "."
        ),
    )
    email_templates: Path | None = Field(
        None, description="A folder of templates that take the place of the built-in ones of the same name."
    )

    admin_api_url: str | None = Field(
        None, description="The site's address, for Mika's admin API: `https://shop.example`."
    )
    admin_api_token: SecretStr | None = Field(
        None, description="An EmDash access token (`ec_pat_…`) with the scope `admin`."
    )
    admin_api_timeout_seconds: float = Field(
        15.0, gt=0, le=600, description="The longest that one call of the admin API may take, with all its attempts."
    )

    idle_ticks: Literal["skip", "run"] = Field(
        "skip", description="What a tick of the schedule does when nothing is due: `skip`, or `run` all the same."
    )
    heartbeat_minutes: float = Field(
        60.0, gt=0, le=10_080, description="A full run at least so often, even when nothing is due."
    )
    long_run_minutes: float = Field(
        15.0,
        gt=0,
        le=10_080,
        description="A run that takes longer is reported as stuck, and no longer waited for.",
    )

    alert_urls: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        (),
        description=(
            "Where alerts go, with commas between: any of Apprise's addresses, such as `slack://…`, `mailtos://…` or "
            "`json://…`. Without one, they are logged."
        ),
    )
    alert_cooldown_minutes: float = Field(
        60.0, gt=0, le=10_080, description="The wait before an alert is repeated; it doubles each time, up to a day."
    )
    alert_no_run_minutes: float = Field(
        150.0,
        gt=0,
        le=100_800,
        description="Without any finished run for so long, an alert says that the schedule stands still.",
    )
    dagster_url: str | None = Field(
        None, description="The address of Dagster's UI, for links to runs: `https://dagster.shop.example`."
    )

    check_errors: Annotated[tuple[str, ...], NoDecode] = Field(
        ("overdue_account_deletes",),
        description="The checks whose failing is an error, and alerts, with commas between; the others warn.",
    )

    asset_owners: Annotated[tuple[str, ...], NoDecode] = Field(
        ("team:shop-operations",),
        description="Who is shown as the owner of the shop's assets, with commas between: `team:…` or email addresses.",
    )

    history_success_days: float = Field(
        7.0, ge=0, le=36_500, description="Days for which the runs that succeeded are kept in Dagster's history."
    )
    history_failure_days: float = Field(
        30.0, ge=0, le=36_500, description="Days for which the runs that failed are kept in Dagster's history."
    )
    history_keep_runs: int = Field(
        100,
        ge=1,
        le=100_000,
        description="So many of each job's newest runs that succeeded, and that failed, are kept, however old.",
    )

    secrets_directory: Path | None = Field(
        None,
        description="A folder with a file for each variable that is secret: `/run/secrets` with `mika_smtp_password`.",
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, dotenv_settings, SecretFiles.in_place_of(file_secret_settings)

    @field_validator("*", mode="before")
    @classmethod
    def _without_a_line_break(cls, value: Any) -> Any:
        # Files, copied text and ``echo`` end with a line break.
        return value.rstrip("\r\n") if isinstance(value, str) else value

    @field_validator("limits")
    @classmethod
    def _limits_name_subtasks(cls, limits: dict[str, int]) -> dict[str, int]:
        return require_limits(limits)

    @field_validator("locale")
    @classmethod
    def _locale_is_known(cls, locale: str) -> str:
        # Imported only for a locale that is set: Babel takes as long to import as all settings together.
        from babel import Locale, UnknownLocaleError

        try:
            Locale.parse(locale.replace("-", "_"))
        except (ValueError, UnknownLocaleError):
            raise ValueError(f"is no locale that is known: {locale!r}; write one such as en or de_AT") from None
        return locale.replace("-", "_")

    @field_validator("database_url")
    @classmethod
    def _is_a_database_url(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None:
            # Imported only if a database is set: SQLAlchemy takes longer to import than all settings together.
            from mika_ops.store.database_url import read_database_url

            _require(lambda names: read_database_url(url.get_secret_value(), names))
        return url

    @field_validator("account_url", "admin_api_url", "dagster_url")
    @classmethod
    def _is_a_link(cls, url: str | None) -> str | None:
        if url is not None:
            require_link(url)
        return url

    @field_validator("admin_api_url")
    @classmethod
    def _is_an_address_alone(cls, url: str | None) -> str | None:
        if url is not None and set(url) & set("@?#"):
            raise ValueError("must be the site's address alone: no user, query or fragment")
        return url

    @field_validator("smtp_url")
    @classmethod
    def _names_a_mail_server(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None:
            _require(lambda names: SmtpServer.from_url(url.get_secret_value(), names=names))
        return url

    @field_validator("email_from", "email_reply_to", "email_bounce_address")
    @classmethod
    def _is_one_address(cls, address: str | None, info: ValidationInfo) -> str | None:
        if address is not None:
            field = str(info.field_name)
            _require(lambda names: sender_mailbox(address, setting=names(field)))
        return address

    @field_validator("email_directory")
    @classmethod
    def _can_be_a_folder(cls, directory: Path | None) -> Path | None:
        if directory is not None and directory.exists() and not directory.is_dir():
            raise ValueError(f"{directory} is a file: name a folder, which is created if it does not exist")
        return directory

    @field_validator("email_extra_kinds", "alert_urls", "check_errors", "asset_owners", mode="before")
    @classmethod
    def _split_at_commas(cls, kinds: Any) -> Any:
        if isinstance(kinds, str):
            return tuple(kind.strip() for kind in kinds.split(",") if kind.strip())
        return kinds

    @field_validator("email_extra_kinds")
    @classmethod
    def _kinds_can_be_added(cls, kinds: tuple[str, ...]) -> tuple[str, ...]:
        return require_extra_kinds(kinds)

    @field_validator("check_errors")
    @classmethod
    def _names_checks(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [name for name in names if name not in CHECK_NAMES]
        if unknown:
            raise ValueError(f"{unknown[0]!r} is no check: write of {', '.join(CHECK_NAMES)}")
        return names

    @field_validator("asset_owners")
    @classmethod
    def _are_owners(cls, owners: tuple[str, ...]) -> tuple[str, ...]:
        for owner in owners:
            if not re.fullmatch(r"team:[A-Za-z0-9_.-]+|[^@\s]+@[^@\s]+\.[^@\s]+", owner):
                raise ValueError(f"{owner!r} is no owner: write team:name or an email address")
        return owners

    @field_validator("email_templates", "secrets_directory")
    @classmethod
    def _is_a_folder(cls, folder: Path | None, info: ValidationInfo) -> Path | None:
        if folder is not None and not folder.is_dir():
            inside = {"email_templates": "templates", "secrets_directory": "secrets"}[str(info.field_name)]
            raise ValueError(f"{folder} is no folder that can be read: name the folder that the {inside} are in")
        return folder

    @field_validator("admin_api_token")
    @classmethod
    def _fits_a_header(cls, token: SecretStr | None) -> SecretStr | None:
        text = "" if token is None else token.get_secret_value()
        if not text.isascii() or any(character.isspace() or not character.isprintable() for character in text):
            raise ValueError("has characters that no access token has: copy it again, without spaces and line breaks")
        return token

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        for problem_in in CROSS_CHECKS:
            if problem_in(self, PLAIN_NAMES) is not None:
                raise SettingProblem(partial(_problem, problem_in, self))
        return self


def _require(read: Callable[[SettingNames], object]) -> None:
    """Raise ``SettingProblem`` if reading a value raises ``ValueError``; its sentence uses the names of the shop."""

    def problem(names: SettingNames) -> str:
        try:
            read(names)
        except ValueError as error:
            return str(error)
        return ""

    if problem(PLAIN_NAMES):
        raise SettingProblem(problem)


def _problem(
    problem_in: Callable[[Settings, SettingNames], str | None], settings: Settings, names: SettingNames
) -> str:
    return problem_in(settings, names) or ""


def run_options_from(settings: Settings) -> RunOptions:
    """Return the options of a run that the settings hold, without limits."""
    return RunOptions(
        raw_payload_retention_days=settings.raw_payload_retention_days,
        acp_session_purge_after_hours=settings.acp_session_purge_after_hours,
        account_delete_scope=settings.account_delete_scope,
    )
