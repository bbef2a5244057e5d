"""Statements that are built once in a process: building a long one takes longer than the database takes to run it.

What changes from one time to the next is bound: times by marks that stand for them while the statement is built, and
whatever else by name. So a statement is known again by its selections, whatever the time.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import Connection, CursorResult, Dialect, Executable
from sqlalchemy.sql import ClauseElement

from mika_ops.documents.selection import Selection, with_bounds
from mika_ops.timestamps import Timestamp

_MARK: Final = "\N{OBJECT REPLACEMENT CHARACTER}"
"""Begins a mark. No time does."""

Build = Callable[..., Executable]
"""Makes a statement of hashable arguments: a function of a module, which is the same one at every call."""


@dataclass
class Times:
    """The times of selections, each with the mark that stands for it."""

    marks: dict[Timestamp, str] = field(default_factory=dict)

    def mark(self, time: Timestamp) -> str:
        """Return what stands for a time."""
        return self.marks.setdefault(time, f"{_MARK}{len(self.marks)}")

    def marked(self, selection: Selection) -> Selection:
        """Return a selection with its times replaced by their marks."""
        return replace(
            selection,
            top=with_bounds(selection.top, self.mark),
            record=None if selection.record is None else with_bounds(selection.record, self.mark),
            over=None if selection.over is None else with_bounds(selection.over, self.mark),
            preferred=None if selection.preferred is None else with_bounds(selection.preferred, self.mark),
        )


@dataclass(frozen=True)
class _Prepared:
    """The SQL of a statement; its parameters with their values, marks among them; their order, where that counts."""

    sql: str
    parameters: Mapping[str, Any]
    order: tuple[str, ...] | None


def execute(connection: Connection, times: Times, build: Build, *arguments: Any, **bound: Any) -> CursorResult[Any]:
    """Run the statement that ``build`` makes of its arguments, with the times and what else it binds by name."""
    dialect: Any = type(connection.dialect)
    prepared = _prepare(dialect, build, *arguments)
    moments = {mark: time for time, mark in times.marks.items()}
    values = {
        name: bound[name] if name in bound else moments.get(value, value) if isinstance(value, str) else value
        for name, value in prepared.parameters.items()
    }
    parameters = values if prepared.order is None else tuple(values[name] for name in prepared.order)
    return connection.exec_driver_sql(prepared.sql, parameters)


@lru_cache(maxsize=256)
def _prepare(dialect: type[Dialect], build: Build, *arguments: Any) -> _Prepared:
    statement = build(*arguments)
    if not isinstance(statement, ClauseElement):
        raise TypeError("only a statement of SQLAlchemy's can be prepared")
    compiled: Any = statement.compile(dialect=dialect(), compile_kwargs={"render_postcompile": True})
    order = None if compiled.positiontup is None else tuple(compiled.positiontup)
    return _Prepared(compiled.string, dict(compiled.params), order)
