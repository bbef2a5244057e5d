"""Statements that are built once in a process: building a long one takes longer than running it.

What changes between two calls, such as the time of a selection, is a parameter. So a statement is found again by the
definitions of its selections.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, CursorResult, Dialect, Executable
from sqlalchemy.sql import ClauseElement

Build = Callable[..., Executable]
"""Builds a statement from hashable arguments: a function of a module, which is the same object at every call."""


@dataclass(frozen=True)
class _Prepared:
    """The SQL of a statement, its parameters with the values of those that are fixed, and their order if it counts."""

    sql: str
    parameters: Mapping[str, Any]
    order: tuple[str, ...] | None


def execute(connection: Connection, build: Build, *arguments: Any, **parameters: Any) -> CursorResult[Any]:
    """Run the statement that ``build`` makes of its arguments.

    ``parameters`` are the values of its parameters by name; others are ignored. Raises ``TypeError`` if one is missing
    or ``None``, since SQL compares with NULL without an error.
    """
    dialect: Any = type(connection.dialect)
    prepared = _prepare(dialect, build, *arguments)
    values = {name: parameters.get(name, fixed) for name, fixed in prepared.parameters.items()}
    missing = [name for name, value in values.items() if value is None]
    if missing:
        raise TypeError(f"no value for {', '.join(missing)}: a selection that compares with a time needs one, by `at`")
    ordered = values if prepared.order is None else tuple(values[name] for name in prepared.order)
    return connection.exec_driver_sql(prepared.sql, ordered)


@lru_cache(maxsize=256)
def _prepare(dialect: type[Dialect], build: Build, *arguments: Any) -> _Prepared:
    statement = build(*arguments)
    if not isinstance(statement, ClauseElement):
        raise TypeError("only a statement of SQLAlchemy's can be prepared")
    compiled: Any = statement.compile(dialect=dialect(), compile_kwargs={"render_postcompile": True})
    order = None if compiled.positiontup is None else tuple(compiled.positiontup)
    return _Prepared(compiled.string, dict(compiled.params), order)
