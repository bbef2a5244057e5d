"""Diagnoses of a shop, and what they say about a probe or a subtask."""

import os
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, inspect, text

from mika_ops.config.loading import isolated_settings
from mika_ops.config.shop import Shop
from mika_ops.doctor.diagnosis import Diagnosis, diagnose
from mika_ops.doctor.probe import ProbeResult

PASSWORD = "canary-5f2c"
TOKEN = "ec_pat_canary_77aa"


def result_of(diagnosis: Diagnosis, name: str) -> ProbeResult:
    (result,) = (result for result in diagnosis.results if result.name == name)
    return result


def status_of(diagnosis: Diagnosis, name: str) -> str:
    return result_of(diagnosis, name).status


def forecast(diagnosis: Diagnosis, status: str) -> list[str]:
    """Return the names of the subtasks with this forecast."""
    return [subtask.name for subtask in diagnosis.subtasks if subtask.status == status]


def reason_of(diagnosis: Diagnosis, subtask: str) -> str | None:
    return next(each.reason for each in diagnosis.subtasks if each.name == subtask)


def diagnosed(**settings: Any) -> Diagnosis:
    return diagnose(Shop(isolated_settings(**settings)))


@contextmanager
def connected(url: str) -> Iterator[Connection]:
    """Open another transaction, of a user with all privileges."""
    engine: Engine = create_engine(url)
    with engine.begin() as connection:
        yield connection
    engine.dispose()


def done_to(url: str, *statements: str) -> None:
    with connected(url) as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def dumped(url: str) -> dict[str, Any]:
    """Return every row of every table, and the statements or names of all indexes."""
    with connected(url) as connection:
        tables = inspect(connection).get_table_names()
        rows = {name: sorted(map(repr, connection.execute(text(f'SELECT * FROM "{name}"')))) for name in tables}
        catalog = "sqlite_master" if connection.dialect.name == "sqlite" else "pg_indexes"
        return {**rows, catalog: sorted(map(repr, connection.execute(text(f"SELECT * FROM {catalog}"))))}


@contextmanager
def without_privileges() -> Iterator[None]:
    """Drop root privileges for a while: root may write everything."""
    diagnosed()  # Imports what only root may be able to read.
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@contextmanager
def folder_for_everybody() -> Iterator[Path]:
    """Create a folder that every user may write, and change into it."""
    with TemporaryDirectory(prefix="mika-ops-doctor-") as directory, chdir(directory):
        Path(directory).chmod(0o777)
        yield Path(directory)
