"""``mika-ops doctor``."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import make_url

from mika_ops.cli.main import main
from mika_ops.subtasks.registry import SUBTASK_NAMES
from mika_ops_testing.admin_api_server import running_site, says
from mika_ops_testing.sites import Sites
from mika_ops_testing.smtp_server import accepting, free_port, mail_server, self_signed
from mika_ops_tests.doctor.diagnoses import PASSWORD, TOKEN, done_to

INDEX = "idx_plugin_mika_ops_type_status"


def called(*arguments: str, **variables: str) -> Result:
    environment = {f"MIKA_{name.upper()}": value for name, value in variables.items()}
    return CliRunner().invoke(main, ["doctor", *arguments], env={**environment, "COLUMNS": "200"})


def facts(**variables: str) -> dict[str, Any]:
    result = called("--json", **variables)
    read: dict[str, Any] = json.loads(result.stdout)
    assert result.exit_code == (0 if read["ok"] else 1)
    return read


def row_of(result: Result, name: str) -> str:
    return next(line for line in result.stdout.splitlines() if f"│ {name} " in line)


def test_a_shop_in_order_is_shown_and_exits_with_0(url: str) -> None:
    result = called(database_url=url)

    assert (result.exit_code, result.stderr) == (0, "")
    assert "│ ok " in row_of(result, "database")
    assert "│ runs " in row_of(result, "stuck_emails")
    assert "│ skipped " in row_of(result, "webhook_retries")
    assert "set MIKA_ADMIN_API_URL and MIKA_ADMIN_API_TOKEN" in row_of(result, "webhook_retries")


def test_something_broken_is_shown_and_exits_with_1(tmp_path: Path, url: str) -> None:
    (tmp_path / "file").touch()
    result = called(database_url=url, email_directory=str(tmp_path / "file" / "outbox"))

    assert (result.exit_code, result.stderr) == (1, "")
    assert "│ broken " in row_of(result, "email")
    assert "broken: email" in row_of(result, "email_outbox")
    assert "│ runs " in row_of(result, "stuck_emails")


def test_statements_stand_each_on_a_line_of_its_own_to_be_copied(url: str) -> None:
    done_to(url, f'DROP INDEX "{INDEX}"')

    result = called(database_url=url)
    (statement,) = (line for line in result.stdout.splitlines() if line.startswith("CREATE "))
    done_to(url, statement)

    assert result.exit_code == 0
    assert "│ warning " in row_of(result, "indexes")
    assert "CREATE " not in called(database_url=url).stdout


def test_as_json_it_is_one_object(url: str) -> None:
    done_to(url, f'DROP INDEX "{INDEX}"')

    read = facts(database_url=url)

    assert read.keys() == {"ok", "checks", "subtasks"}
    assert read["ok"] is True
    assert [each["name"] for each in read["subtasks"]] == list(SUBTASK_NAMES)
    assert read["subtasks"][1] == {"name": "stuck_emails", "status": "runs", "reason": None}
    (indexes,) = (check for check in read["checks"] if check["name"] == "indexes")
    assert indexes.keys() == {"name", "status", "sentence", "statements"}
    assert indexes["status"] == "warning"
    assert [INDEX in statement for statement in indexes["statements"]] == [True]


def test_as_json_something_broken_is_not_ok() -> None:
    assert facts(database_url="sqlite:///missing.db")["ok"] is False


@pytest.mark.parametrize("arguments", [[], ["--json"]])
def test_an_invalid_setting_is_reported_in_one_sentence_and_exits_with_2(arguments: list[str]) -> None:
    result = called(*arguments, admin_api_url="https://shop.test")

    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        "mika-ops: MIKA_ADMIN_API_TOKEN is missing: the admin API needs both its URL and its token\n"
    )


def test_a_variable_that_is_no_setting_is_a_warning() -> None:
    result = called("--json", side_name="The lamp shop")

    assert result.exit_code == 0
    assert result.stderr == "Warning: MIKA_SIDE_NAME is no setting: did you mean MIKA_SITE_NAME?\n"
    assert json.loads(result.stdout)["ok"] is True


@pytest.fixture(
    params=["no file", "no server", "no such database", "wrong login", "dead mail server", "certificate", "wrong token"]
)
def faulty(
    request: pytest.FixtureRequest, sqlite_sites: Sites, postgres_sites: Sites, tmp_path: Path
) -> Iterator[dict[str, str]]:
    """Return settings of a shop of which one component is broken."""
    fault: str = request.param
    with ExitStack() as stack:
        _certificate, context = self_signed(tmp_path)
        login = accepting("canary-user", "another" if fault == "wrong login" else PASSWORD)
        mailroom = stack.enter_context(mail_server(tls_context=context, **login))
        site = stack.enter_context(running_site())
        if fault == "wrong token":
            site.will(says({"error": {"code": "INVALID_TOKEN", "message": f"{TOKEN} of ada@shop.test"}}, status=401))
        nowhere = make_url(postgres_sites.new()).set(database="nowhere", password=PASSWORD)
        databases = {
            "no file": "sqlite:///missing.db",
            "no server": f"postgresql://shop:{PASSWORD}@127.0.0.1:{free_port()}/shop",
            "no such database": nowhere.render_as_string(hide_password=False),
        }
        port = free_port() if fault == "dead mail server" else mailroom.port
        yield {
            "database_url": databases.get(fault) or sqlite_sites.new(),
            "smtp_url": f"smtp+starttls://canary-user:{PASSWORD}@127.0.0.1:{port}",
            "smtp_verify_tls": "true" if fault == "certificate" else "false",
            "email_from": "Shop <canary-from@shop.test>",
            "support_email": "canary-support@shop.test",
            "account_url": "https://shop.test/canary-account",
            "admin_api_url": site.url,
            "admin_api_token": TOKEN,
        }


@pytest.mark.parametrize("arguments", [[], ["--json"]])
def test_no_fault_tells_a_secret_an_address_or_a_link(arguments: list[str], faulty: dict[str, str]) -> None:
    result = called(*arguments, **faulty)

    assert result.exit_code == 1
    assert result.output.count("broken") >= 2
    assert "canary" not in result.output
    assert "@" not in result.output
    assert "://" not in result.output
    assert "Traceback" not in result.output
