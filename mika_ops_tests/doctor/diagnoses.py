"""Having the doctor examine a shop, and reading what it found."""

import os
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, inspect, text

from mika_ops.config.loading import isolated_settings
from mika_ops.config.shop import Shop
from mika_ops.doctor.diagnosis import Check, Diagnosis, diagnose

PASSWORD = "canary-5f2c"
TOKEN = "ec_pat_canary_77aa"


def check_of(diagnosis: Diagnosis, name: str) -> Check:
    (found,) = (check for check in diagnosis.checks if check.name == name)
    return found


def status_of(diagnosis: Diagnosis, name: str) -> str:
    return check_of(diagnosis, name).status


def expected_of(diagnosis: Diagnosis, status: str) -> list[str]:
    """Return the names of the subtasks of which this is expected."""
    return [subtask.name for subtask in diagnosis.subtasks if subtask.status == status]


def reason_of(diagnosis: Diagnosis, subtask: str) -> str | None:
    return next(each.reason for each in diagnosis.subtasks if each.name == subtask)


def examined(**settings: Any) -> Diagnosis:
    return diagnose(Shop(isolated_settings(**settings)))


@contextmanager
def connected(url: str) -> Iterator[Connection]:
    """Open a transaction of somebody else's, with all rights."""
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
    """Be nobody for a while, where the tests are run by root, who may write everything."""
    examined()  # What is imported on the way may be root's alone.
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
    """Make a folder that everybody may use, and work there."""
    with TemporaryDirectory(prefix="mika-ops-doctor-") as directory, chdir(directory):
        Path(directory).chmod(0o777)
        yield Path(directory)
