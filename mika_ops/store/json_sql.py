"""How each database reads a field of a document, and a ``Selection`` as SQL.

The top-level spelling is EmDash's own, to the letter: the planner uses an expression index only where a query repeats
the expression. Field names are constants of this package, so they stand in the SQL as they are; values are always
bound.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Select,
    and_,
    bindparam,
    case,
    false,
    func,
    literal,
    literal_column,
    not_,
    or_,
    select,
    text,
    true,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.types import Boolean, Text

from mika_ops.documents.selection import (
    COMES_LAST,
    AllOf,
    AnyOf,
    AtMost,
    Below,
    Blank,
    Condition,
    Field,
    Has,
    NoneOf,
    Not,
    OneOf,
    Selection,
    top,
    typed_fields,
)

_JSON_TYPES: Final[dict[str, dict[str, tuple[str, ...]]]] = {
    "sqlite": {"text": ("text",), "number": ("integer", "real"), "object": ("object",)},
    "postgresql": {"text": ("string",), "number": ("number",), "object": ("object",)},
}


def _one_of(condition: Condition) -> Iterator[tuple[Field, tuple[str, ...]]]:
    """Yield the fields that a condition looks up by equality, with the values."""
    match condition:
        case OneOf(field=field, values=values):
            yield field, values
        case AllOf(conditions=conditions):
            for inner in conditions:
                yield from _one_of(inner)
        case _:
            return


@dataclass(frozen=True)
class JsonSql:
    """The spelling of one dialect (``sqlite`` or ``postgresql``).

    ``guarded``: no index guarantees that every document is JSON, so each expression checks first. That is slower, and
    only needed where a site has none of EmDash's expression indexes.

    ``parsed``: for statements that select from ``parsed_once``. Postgres parses a document's whole text for each
    expression, of which a selection has a dozen; SQLite caches the document that it parsed last.

    ``time_parameter``: the parameter that holds the selection's time.
    """

    dialect: str
    guarded: bool = False
    parsed: bool = False
    time_parameter: str = "at"

    def parsed_once(self, documents: FromClause) -> tuple["JsonSql", FromClause]:
        """Return the spelling by which a document is read once, and what a statement in it selects from."""
        if self.dialect == "sqlite":
            return self, documents
        # The offset, which is none, keeps the planner from parsing the text for each expression after all.
        document: ColumnElement[Any] = literal_column(f"({self._data})::jsonb")
        read: Select[Any] = select(document.label("document")).offset(literal_column("0"))
        return replace(self, parsed=True), documents.join(read.lateral("parsed"), true())

    def indexed(self, field: str) -> str:
        """Return the expression that EmDash indexes for a top-level field."""
        if self.dialect == "sqlite":
            return f"json_extract({self._data}, '$.{field}')"
        return f"(({self._data})::jsonb->>'{field}')"

    def text(self, field: Field) -> ColumnElement[str]:
        """Return the field as text; absent and ``null`` are SQL's null."""
        if field.is_top_level:
            return literal_column(self.indexed(field.path[0]), Text())
        if self.dialect == "sqlite":
            return literal_column(f"json_extract({self._data}, '$.{'.'.join(field.path)}')", Text())
        return literal_column(f"({self._document} #>> '{{{','.join(field.path)}}}')", Text())

    def is_a(self, path: tuple[str, ...], type_: str) -> ColumnElement[bool]:
        """Say whether the value at ``path`` is there and of a type: never null."""
        return literal_column(f"{self._type_at(path)} IN {self._named(type_)}")

    def is_no(self, path: tuple[str, ...], type_: str) -> ColumnElement[bool]:
        """Say whether the value at ``path`` is not there or not of a type: never null."""
        return literal_column(f"({self._type_at(path)} NOT IN {self._named(type_)})")

    # Nothing in these two is anybody's value. Put together by SQLAlchemy, a hundred of them took a new process longer
    # than the database takes to run the whole query.
    def _type_at(self, path: tuple[str, ...]) -> str:
        if self.dialect == "sqlite":
            return f"coalesce(json_type({self._data}, '$.{'.'.join(path)}'), 'null')"
        return f"coalesce(jsonb_typeof({self._document} #> '{{{','.join(path)}}}'), 'null')"

    def _named(self, type_: str) -> str:
        return "({})".format(", ".join(f"'{name}'" for name in _JSON_TYPES[self.dialect][type_]))

    def waiting_since(self, selection: Selection) -> ColumnElement[str]:
        """Return the first of the selection's order fields that is a text, else an empty text."""
        texts = [case((self.is_a(field.path, "text"), self.text(field))) for field in selection.order_by]
        return self.by_code_point(func.coalesce(*texts, "") if texts else literal("", Text()))

    def sort_key(self, selection: Selection) -> ColumnElement[str]:
        """Return the text that the selection sorts by."""
        since = self.waiting_since(selection)
        if selection.first_if is None:
            return since
        mark = case((self.condition(selection.first_if), ""), else_=COMES_LAST)
        return self.by_code_point(since.concat(mark))

    def by_code_point(self, text: ColumnElement[Any]) -> ColumnElement[Any]:
        """Return the text so that it sorts by code point, as Python does."""
        return text.collate("C") if self.dialect == "postgresql" else text

    def where(self, selection: Selection) -> ColumnElement[bool]:
        """Return the condition for what the selection takes, and for what is malformed among it."""
        taken = self.condition(selection.top)
        if selection.record is None:
            return taken
        malformed, decided = self.malformed(selection), self.condition(selection.record)
        if selection.finished is not None:
            # Redundant, but the planner uses a partial index only where a query repeats the index's condition.
            taken = and_(taken, text(self.unfinished(selection)))
        if selection.reports_malformed:
            return and_(taken, or_(malformed, decided))
        return and_(taken, not_(malformed), decided)

    def unfinished(self, selection: Selection) -> str:
        """Return the condition for documents of the selection's type that are unfinished or malformed.

        Its values are literals, as in the partial index on those documents.
        """
        type_ = next(values[0] for field, values in _one_of(selection.top) if field == top("type"))
        finished = self.finished(selection)
        is_open = f"{finished} = 0" if self.dialect == "sqlite" else f"NOT {finished}"
        return f"{self.indexed('type')} = '{type_}' AND ({is_open})"

    def finished(self, selection: Selection) -> str:
        """Return whether a document is well-formed and finished, as an expression with literal values: never null."""
        if selection.finished is None:
            raise TypeError("this selection does not say when a document is finished")
        # As in the index's condition, whatever a statement selects from.
        of_text = replace(self, parsed=False)
        finished = and_(of_text.condition(selection.finished), not_(of_text.malformed(selection)))
        dialect: Any = sqlite.dialect if self.dialect == "sqlite" else postgresql.dialect
        whether = func.coalesce(finished, false(), type_=Boolean())
        return str(whether.compile(dialect=dialect(), compile_kwargs={"literal_binds": True}))

    def malformed(self, selection: Selection) -> ColumnElement[bool]:
        """Say whether the document's inside has not the shape that the selection reads: never null."""
        if selection.record is None:
            return false()
        wrong = [self.is_no(("record",), "object")]
        for field, required in typed_fields(selection.record):
            unfit = self.is_no(field.path, field.type)
            wrong.append(unfit if required else and_(self.text(field).is_not(None), unfit))
        return or_(*wrong)

    def condition(self, condition: Condition) -> ColumnElement[bool]:
        """Return one condition as SQL. Only ``OneOf`` may be null, where its field is: it must stay a plain look-up."""
        match condition:
            case OneOf(field=field, values=values):
                return self.text(field).in_(values)
            case NoneOf(field=field, values=values):
                return func.coalesce(self.text(field), "").not_in(values)
            case AtMost(field=field, if_absent=if_absent):
                time = bindparam(self.time_parameter, None, type_=Text())
                reached = and_(self.is_a(field.path, "text"), self.text(field) <= time)
                return or_(self.is_no(field.path, "text"), reached) if if_absent else reached
            case Below(field=field, other=other):
                return func.coalesce(self._number(field) < self._number(other), false(), type_=Boolean())
            case Blank(field=field):
                return func.coalesce(self.text(field), "") == ""
            case Has(field=field):
                return self.text(field).is_not(None)
            case Not(condition=inner):
                return not_(func.coalesce(self.condition(inner), false(), type_=Boolean()))
            case AllOf(conditions=conditions):
                return and_(true(), *(self.condition(inner) for inner in conditions))
            case AnyOf(conditions=conditions):
                return or_(false(), *(self.condition(inner) for inner in conditions))

    def _number(self, field: Field) -> ColumnElement[Any]:
        if self.dialect == "sqlite":
            return literal_column(f"json_extract({self._data}, '$.{'.'.join(field.path)}')")
        return literal_column(f"({self._document} #> '{{{','.join(field.path)}}}')")

    @property
    def _document(self) -> str:
        """The document, for expressions that no index serves on Postgres."""
        return "parsed.document" if self.parsed else f"({self._data})::jsonb"

    @property
    def _data(self) -> str:
        if not self.guarded:
            return "data"
        valid = "json_valid(data)" if self.dialect == "sqlite" else "pg_input_is_valid(data, 'jsonb')"
        return f"CASE WHEN {valid} THEN data END"
