import subprocess
import sys

import pytest

import mika_ops


def loaded_by(statement: str) -> set[str]:
    """The top-level modules that a fresh interpreter has loaded after a statement."""
    code = f"{statement}; import sys; print(*{{name.partition('.')[0] for name in sys.modules}})"
    command = [sys.executable, "-c", code]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())  # noqa: S603


@pytest.mark.parametrize("name", mika_ops.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(mika_ops, name).__name__ == name


def test_the_public_names_are_the_host_its_parts_its_settings_and_the_definitions() -> None:
    assert sorted(mika_ops.__all__) == [
        "EmailOverrides",
        "Host",
        "MikaMaintenance",
        "Settings",
        "build_definitions",
        "from_function",
        "lazily",
    ]
    assert set(mika_ops.__all__) <= set(dir(mika_ops))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = mika_ops.nothing


def test_importing_the_package_loads_neither_dagster_nor_a_database_driver() -> None:
    assert loaded_by("import mika_ops") & {"dagster", "sqlalchemy", "pydantic", "psycopg", "httpx"} == set()


@pytest.mark.parametrize(
    "package",
    ["mika_ops.rules.email", "mika_ops.subtasks.registry", "mika_ops.store.documents", "mika_ops.email.smtp.sender"],
)
def test_nothing_under_the_rules_the_subtasks_the_store_and_the_emails_loads_dagster(package: str) -> None:
    assert "dagster" not in loaded_by(f"import {package}")


@pytest.mark.parametrize("package", ["mika_ops.rules.email", "mika_ops.subtasks.registry"])
def test_neither_the_rules_nor_the_subtasks_know_a_database(package: str) -> None:
    assert "sqlalchemy" not in loaded_by(f"import {package}")


def test_the_commands_help_does_not_wait_for_dagster() -> None:
    assert "dagster" not in loaded_by("import mika_ops.cli.main")


def test_the_package_says_that_it_is_typed() -> None:
    from importlib.resources import files

    assert files("mika_ops").joinpath("py.typed").is_file()
