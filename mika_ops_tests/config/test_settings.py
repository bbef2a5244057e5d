from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from mika_ops.config.errors import SettingsError
from mika_ops.config.loading import isolated_settings, load_settings, unknown_variables
from mika_ops.config.settings import Settings
from mika_ops.config.validators import LIMITED_SUBTASKS, require_time

SQLITE = "sqlite:///shop.db"


def errors_of(**values: Any) -> str:
    with pytest.raises(SettingsError) as error:
        load_settings(**values)
    return str(error.value)


def test_an_empty_environment_is_a_shop_with_nothing_that_runs_every_minute() -> None:
    settings = load_settings()

    assert settings.maintenance_enabled
    assert (settings.maintenance_schedule, settings.maintenance_timezone) == ("* * * * *", "UTC")
    assert settings.plugin_id == "mika"
    assert (settings.raw_payload_retention_days, settings.email_lease_minutes) == (14, 5)
    assert settings.limits == {}
    assert (settings.database_url, settings.smtp_url, settings.admin_api_url) == (None, None, None)


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_every_setting_is_described(name: str) -> None:
    description = Settings.model_fields[name].description

    assert description
    assert description.endswith((".", "`."))


@pytest.mark.parametrize(
    ("variable", "text", "name", "value"),
    [
        ("MIKA_DATABASE_URL", SQLITE, "database_url", SecretStr(SQLITE)),
        ("MIKA_MAINTENANCE_ENABLED", "false", "maintenance_enabled", False),
        ("MIKA_MAINTENANCE_SCHEDULE", "*/5 * * * *", "maintenance_schedule", "*/5 * * * *"),
        ("MIKA_MAINTENANCE_TIMEZONE", "Europe/Berlin", "maintenance_timezone", "Europe/Berlin"),
        ("MIKA_LIMITS", '{"email_outbox": 25}', "limits", {"email_outbox": 25}),
        ("MIKA_RAW_PAYLOAD_RETENTION_DAYS", "0.5", "raw_payload_retention_days", 0.5),
        ("MIKA_LOCALE", "de-AT", "locale", "de_AT"),
        ("MIKA_EMAIL_FROM", "Shop <orders@shop.example>", "email_from", "Shop <orders@shop.example>"),
    ],
)
def test_a_setting_is_read_from_its_variable(
    variable: str, text: str, name: str, value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, text)

    assert getattr(load_settings(), name) == value


def test_an_empty_variable_is_as_if_it_were_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.setenv(f"MIKA_{name.upper()}", "")

    assert load_settings().model_dump() == isolated_settings().model_dump()


def test_a_dotenv_file_in_the_current_folder_is_read() -> None:
    Path(".env").write_text(f"MIKA_DATABASE_URL={SQLITE}\nOTHER=1\n")

    assert load_settings().database_url == SecretStr(SQLITE)


def test_the_environment_comes_before_the_dotenv_file(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("MIKA_SITE_NAME=File\n")
    monkeypatch.setenv("MIKA_SITE_NAME", "Environment")

    assert load_settings().site_name == "Environment"


def test_isolated_settings_read_neither_the_environment_nor_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("MIKA_SITE_NAME=File\n")
    monkeypatch.setenv("MIKA_PLUGIN_ID", "other")

    assert isolated_settings() == isolated_settings(site_name="Our shop", plugin_id="mika")


def test_settings_cannot_be_changed_afterwards() -> None:
    with pytest.raises(ValidationError):
        setattr(load_settings(), "plugin_id", "other")  # noqa: B010 - the type checker forbids it too


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (
            {"maintenance_schedule": "every minute"},
            "MIKA_MAINTENANCE_SCHEDULE: 'every minute' is no cron string: write five fields, such as */5 * * * *",
        ),
        (
            {"maintenance_timezone": "Mars/Olympus"},
            "MIKA_MAINTENANCE_TIMEZONE: 'Mars/Olympus' is no time zone: write one such as UTC or Europe/Berlin",
        ),
        (
            {"limits": {"email_outbox": -1}},
            "MIKA_LIMITS: the limit of email_outbox is -1: it must be 0 or more",
        ),
        (
            {"limits": {"emails": 1}},
            f"MIKA_LIMITS: 'emails' takes no limit: write one of {', '.join(LIMITED_SUBTASKS)}",
        ),
        (
            {"limits": {"stock_reservations": 1}},
            f"MIKA_LIMITS: 'stock_reservations' takes no limit: write one of {', '.join(LIMITED_SUBTASKS)}",
        ),
        (
            {"locale": "zz_QQ"},
            "MIKA_LOCALE: is no locale that is known: 'zz_QQ'; write one such as en or de_AT",
        ),
        (
            {"account_url": "shop.example/account"},
            "MIKA_ACCOUNT_URL: is no link: it must start with https:// or http:// and name a site",
        ),
        (
            {"admin_api_url": "https://shop.example:port", "admin_api_token": "t"},
            "MIKA_ADMIN_API_URL: is no link: it must start with https:// or http:// and name a site",
        ),
        (
            {"admin_api_url": "https://me@shop.example", "admin_api_token": "t"},
            "MIKA_ADMIN_API_URL: must be the site's address alone: no user, query or fragment",
        ),
        (
            {"admin_api_url": "https://shop.example", "admin_api_token": "two lines\n"},
            (
                "MIKA_ADMIN_API_TOKEN: has characters that no access token has: "
                "copy it again, without spaces and line breaks"
            ),
        ),
        (
            {"database_url": "shop.db"},
            (
                "MIKA_DATABASE_URL is not a database URL: write sqlite:///path/to/data.db or "
                "postgresql://user:password@host:5432/name"
            ),
        ),
        (
            {"account_delete_scope": "some"},
            "MIKA_ACCOUNT_DELETE_SCOPE: Input should be 'complete' or 'reference'",
        ),
    ],
)
def test_an_invalid_value_is_reported_with_its_variable_in_one_sentence(values: dict[str, Any], sentence: str) -> None:
    assert errors_of(**values) == sentence


@pytest.mark.parametrize(
    ("values", "start"),
    [
        ({"smtp_url": "mail.example", "email_from": "a@b.example", "database_url": SQLITE}, "MIKA_SMTP_URL does not"),
        ({"email_from": "the shop"}, "MIKA_EMAIL_FROM is not one mail address"),
        ({"time_budget_seconds": 0}, "MIKA_TIME_BUDGET_SECONDS: Input should be greater than 0"),
        ({"raw_payload_retention_days": "inf"}, "MIKA_RAW_PAYLOAD_RETENTION_DAYS: "),
        ({"limits": {"email_outbox": "many"}}, "MIKA_LIMITS[email_outbox]: Input should be a valid integer"),
    ],
)
def test_a_wrong_value_is_reported_with_its_variable_first(values: dict[str, Any], start: str) -> None:
    message = errors_of(**values)

    assert message.startswith(start)
    assert message.count("\n") == 0
    assert message.count("MIKA_") == 1


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_line_break_at_the_end_of_a_variable_is_ignored(end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in {"DATABASE_URL": SQLITE, "SITE_NAME": "Tea & Co", "SHARDS": "2"}.items():
        monkeypatch.setenv(f"MIKA_{variable}", value + end)

    settings = load_settings()
    assert settings.database_url == SecretStr(SQLITE)
    assert (settings.site_name, settings.shards) == ("Tea & Co", 2)


def test_a_folder_for_emails_that_is_a_file_is_reported() -> None:
    Path("emails").write_text("")

    assert errors_of(email_directory="emails", database_url=SQLITE).startswith("MIKA_EMAIL_DIRECTORY: emails is a file")


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (
            {"smtp_url": "smtp://h", "email_from": "a@b.example", "email_directory": "out", "database_url": SQLITE},
            "MIKA_SMTP_URL and MIKA_EMAIL_DIRECTORY are both set",
        ),
        ({"smtp_url": "smtp://h", "database_url": SQLITE}, "MIKA_SMTP_URL is set without MIKA_EMAIL_FROM"),
        ({"admin_api_url": "https://shop.example"}, "MIKA_ADMIN_API_TOKEN is missing"),
        ({"admin_api_token": "ec_pat_x"}, "MIKA_ADMIN_API_URL is missing"),
        ({"email_lease_minutes": 0.5, "smtp_timeout_seconds": 20}, "MIKA_EMAIL_LEASE_MINUTES is too short"),
    ],
)
def test_settings_that_do_not_fit_together_are_reported_in_one_sentence(values: dict[str, Any], sentence: str) -> None:
    message = errors_of(**values)

    assert message.startswith(sentence)
    assert message.count("\n") == 0


def test_every_wrong_variable_is_reported_on_a_line_of_its_own() -> None:
    message = errors_of(maintenance_schedule="x", locale="zz_QQ", time_budget_seconds=-1)

    assert [line.partition(":")[0] for line in message.splitlines()] == [
        "MIKA_MAINTENANCE_SCHEDULE",
        "MIKA_TIME_BUDGET_SECONDS",
        "MIKA_LOCALE",
    ]


@pytest.mark.parametrize("text", ["{", "email_outbox=25", "{'email_outbox': 25}"])
def test_limits_that_are_no_json_are_reported_with_an_example(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIKA_LIMITS", text)

    assert errors_of() == 'MIKA_LIMITS is not JSON: write it as {"email_outbox": 25}'


@pytest.mark.parametrize("text", ["[]", "25", '"email_outbox"'])
def test_limits_that_are_json_of_another_kind_are_reported(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIKA_LIMITS", text)

    assert errors_of().startswith("MIKA_LIMITS: ")


@pytest.mark.parametrize(
    ("variable", "message"),
    [
        ("MIKA_DATABSE_URL", "MIKA_DATABSE_URL is no setting: did you mean MIKA_DATABASE_URL?"),
        ("mika_stmp_url", "MIKA_STMP_URL is no setting: did you mean MIKA_SMTP_URL?"),
        ("MIKA_QUX", "MIKA_QUX is no setting"),
    ],
)
def test_a_variable_that_is_no_setting_is_reported_with_the_one_it_may_be(variable: str, message: str) -> None:
    assert unknown_variables({variable: "x", "PATH": "/bin", "MIKA_LIMITS": "{}"}) == [message]


def test_a_variable_of_the_dotenv_file_that_is_no_setting_is_reported_too(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("MIKA_SIDE_NAME=x\n")
    monkeypatch.setenv("MIKA_LOKALE", "en")

    assert unknown_variables() == [
        "MIKA_LOKALE is no setting: did you mean MIKA_LOCALE?",
        "MIKA_SIDE_NAME is no setting: did you mean MIKA_SITE_NAME?",
    ]


def test_a_known_variable_is_not_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.setenv(f"MIKA_{name.upper()}", "")

    assert unknown_variables() == []


@pytest.mark.parametrize("text", ["yesterday", "", "2026-13-01", "12:00", "0001-01-01T00:00:00+14:00"])
def test_a_time_that_is_none_is_reported_with_how_to_write_one(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no time: write ISO 8601, such as 2026-03-01T12:00:00Z$"):
        require_time(text)


def test_a_dotenv_file_that_is_not_utf_8_is_one_sentence() -> None:
    Path(".env").write_bytes(b"MIKA_SITE_NAME=Caf\xe9\n")
    with pytest.raises(SettingsError, match=r"\.env is not UTF-8"):
        load_settings()


class TestSecretsByFile:
    @pytest.fixture
    def secrets(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """Return the folder that ``MIKA_SECRETS_DIRECTORY`` names."""
        folder = tmp_path / "secrets"
        folder.mkdir()
        monkeypatch.setenv("MIKA_SECRETS_DIRECTORY", str(folder))
        return folder

    @pytest.mark.parametrize("name", ["mika_smtp_password", "MIKA_SMTP_PASSWORD"])
    def test_a_setting_is_read_from_the_file_of_its_name_without_the_line_break(
        self, secrets: Path, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (secrets / name).write_text("pass word\n")
        (secrets / "mika_smtp_url").write_text("smtp://mail.shop.example")
        monkeypatch.setenv("MIKA_SMTP_USERNAME", "orders")
        monkeypatch.setenv("MIKA_EMAIL_FROM", "orders@shop.example")

        assert load_settings().smtp_password == SecretStr("pass word")

    def test_lists_and_json_are_read_from_files_as_from_variables(self, secrets: Path) -> None:
        (secrets / "mika_limits").write_text('{"email_outbox": 25}\n')
        (secrets / "mika_alert_urls").write_text("json://one.example, json://two.example\n")

        assert load_settings().limits == {"email_outbox": 25}
        assert len(load_settings().alert_urls) == 2

    def test_the_environment_comes_before_a_file_and_an_empty_file_is_none(
        self, secrets: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (secrets / "mika_site_name").write_text("File")
        (secrets / "mika_database_url").write_text("\n")
        assert load_settings().site_name == "File"
        assert load_settings().database_url is None

        monkeypatch.setenv("MIKA_SITE_NAME", "Environment")
        assert load_settings().site_name == "Environment"

    def test_each_shop_has_its_own_folder_and_names(self, secrets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (secrets / "mika_plugin_id").write_text("one")
        (secrets / "mika_eu_plugin_id").write_text("eu")
        monkeypatch.setenv("MIKA_EU_SECRETS_DIRECTORY", str(secrets))

        assert load_settings(shop="eu").plugin_id == "eu"
        assert load_settings().plugin_id == "one"

    def test_a_mounted_volume_of_kubernetes_is_read_through_its_links(self, secrets: Path) -> None:
        (secrets / "..2026_03_01").mkdir()
        (secrets / "..2026_03_01" / "mika_plugin_id").write_text("linked")
        (secrets / "..data").symlink_to("..2026_03_01")
        (secrets / "mika_plugin_id").symlink_to("..data/mika_plugin_id")

        assert load_settings().plugin_id == "linked"
        assert unknown_variables() == []

    def test_a_folder_that_is_not_there_is_reported(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MIKA_SECRETS_DIRECTORY", "/nowhere")

        assert errors_of() == (
            "MIKA_SECRETS_DIRECTORY: /nowhere is no folder that can be read: name the folder that the secrets are in"
        )

    def test_a_file_that_is_no_text_is_reported_without_what_it_holds(self, secrets: Path) -> None:
        (secrets / "mika_admin_api_token").write_bytes(b"\xe9secret")

        assert errors_of() == f"MIKA_ADMIN_API_TOKEN: its file in {secrets} cannot be read: it is not UTF-8"

    def test_a_file_that_may_not_be_read_is_reported(self, secrets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (secrets / "mika_admin_api_token").write_text("token")

        def refuse(self: Path, *_: Any, **__: Any) -> str:
            raise PermissionError(13, "Permission denied", str(self))

        monkeypatch.setattr(Path, "read_text", refuse)  # root, who may run the tests, can read every file

        assert errors_of() == f"MIKA_ADMIN_API_TOKEN: its file in {secrets} cannot be read: Permission denied"

    def test_a_file_whose_name_is_no_setting_is_reported_with_the_one_it_may_be(self, secrets: Path) -> None:
        (secrets / "mika_smtp_pasword").write_text("x")
        (secrets / "dagster_postgres_password").write_text("x")

        assert unknown_variables() == ["MIKA_SMTP_PASWORD is no setting: did you mean MIKA_SMTP_PASSWORD?"]

    def test_isolated_settings_read_no_files(self, secrets: Path) -> None:
        (secrets / "mika_plugin_id").write_text("file")

        assert isolated_settings(secrets_directory=secrets).plugin_id == "mika"


@pytest.mark.parametrize(("shop", "prefix"), [(None, "MIKA_"), ("eu", "MIKA_EU_")])
@pytest.mark.parametrize("place", ["environment", "dotenv"])
def test_a_removed_variable_is_rejected_with_its_replacement(
    shop: str | None, prefix: str, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if place == "environment":
        monkeypatch.setenv(f"{prefix}ALERT_SILENCE_MINUTES", "120")
    else:
        Path(".env").write_text(f"{prefix}ALERT_SILENCE_MINUTES=120\n")

    expected = f"{prefix}ALERT_SILENCE_MINUTES was renamed: use {prefix}ALERT_NO_RUN_MINUTES"
    assert errors_of(shop=shop) == expected
