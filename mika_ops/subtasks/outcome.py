"""How a subtask ends: completed with counts, failed with an error, or skipped with a reason."""

from typing import Any, Final, Generic, Literal, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from mika_ops.redaction import redact

NOT_CHOSEN: Final = "not chosen for this run"
"""Why a subtask is skipped that the run leaves out."""

_SHOWN_LAST: Final = ("malformed", "has_more")


class SubtaskResult(BaseModel):
    """The counts of one subtask; each subtask's module says what its own are."""

    model_config = ConfigDict(frozen=True)

    def counts(self) -> dict[str, int | float | bool]:
        """Return the counts alone, by name, as they are shown to people."""
        counts = {name: value for name, value in self if isinstance(value, bool | int | float)}
        told_last = {name: counts.pop(name) for name in _SHOWN_LAST if name in counts}
        return counts | told_last

    def words(self) -> dict[str, str]:
        """Return what the subtask says of itself in words, by name, without addresses, links and tokens."""
        return {name: redact(value) for name, value in self if isinstance(value, str)}

    def named_ids(self) -> dict[str, tuple[str, ...]]:
        """Return what a person has to look at, by name: ids of documents and rows, never personal data."""
        return {name: value for name, value in self if isinstance(value, tuple) and _are_texts(value)}


class SweptResult(SubtaskResult):
    """The counts of a subtask that sweeps documents.

    ``scanned``: candidates taken; ``malformed``: those that could not be read, the first of them named; ``has_more``:
    others were left for want of room or time.
    """

    scanned: int = 0
    malformed: int = 0
    has_more: bool = False
    malformed_ids: tuple[str, ...] = ()


Result = TypeVar("Result", bound=SubtaskResult)


class Completed(BaseModel):
    """The subtask did what there was to do, or as much of it as its limits allowed."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    status: Literal["completed"] = "completed"
    result: SubtaskResult
    duration_ms: int = 0


class Failed(BaseModel):
    """The subtask could not go on; ``result`` holds what it had done until then, where it knows."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    status: Literal["failed"] = "failed"
    error: str
    result: SubtaskResult | None = None
    duration_ms: int = 0


class Skipped(BaseModel):
    """The subtask had not what it needs, or was not asked for."""

    model_config = ConfigDict(frozen=True)

    status: Literal["skipped"] = "skipped"
    reason: str
    duration_ms: int = Field(default=0)


Outcome: TypeAlias = Completed | Failed | Skipped


class SubtaskFailed(Exception, Generic[Result]):
    """Raised by a subtask that could not go on, with what it had done until then."""

    def __init__(self, message: str, result: Result) -> None:
        super().__init__(message)
        self.result = result


def _are_texts(values: tuple[Any, ...]) -> bool:
    return bool(values) and all(isinstance(value, str) for value in values)
