"""How a subtask ends: completed with counts, failed with an error, or skipped with a reason."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Generic, Literal, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict

from mika_ops.documents.sweep import IDS_NAMED
from mika_ops.formatting import format_counts
from mika_ops.redaction import redact
from mika_ops.timestamps import Timestamp

_SHOWN_LAST: Final = ("malformed", "has_more")

Count: TypeAlias = int | float | bool


class SubtaskResult(BaseModel):
    """The counts of one subtask; the module of each subtask defines its own type."""

    model_config = ConfigDict(frozen=True)

    def counts(self) -> dict[str, Count]:
        """Return the counts by name, in the order in which they are shown."""
        counts = {name: value for name, value in self if isinstance(value, bool | int | float)}
        shown_last = {name: counts.pop(name) for name in _SHOWN_LAST if name in counts}
        return counts | shown_last

    def words(self) -> dict[str, str]:
        """Return the texts of the result by name, without addresses, links and tokens."""
        return {name: redact(value) for name, value in self if isinstance(value, str)}

    def named_ids(self) -> dict[str, tuple[str, ...]]:
        """Return the ids that need attention by name: ids of documents and rows, never personal data.

        The name of each such field ends in ``_ids``.
        """
        return {name: value for name, value in self if isinstance(value, tuple) and _are_texts(value)}


class SweptResult(SubtaskResult):
    """The counts of a subtask that sweeps documents.

    ``scanned``: candidates read; ``malformed``: documents that could not be read, the first of them in
    ``malformed_ids``; ``has_more``: the limit or the time ran out before all were processed. ``oldest``: since when the
    oldest waited that was processed.
    """

    scanned: int = 0
    malformed: int = 0
    has_more: bool = False
    malformed_ids: tuple[str, ...] = ()
    oldest: Timestamp | None = None


class RecordedResult(SubtaskResult):
    """A result without its own type: read back from a run, or merged from several shards."""

    recorded_counts: Mapping[str, Count] = {}
    recorded_words: Mapping[str, str] = {}
    recorded_ids: Mapping[str, tuple[str, ...]] = {}

    def counts(self) -> dict[str, Count]:
        """Return the counts as they were recorded."""
        return dict(self.recorded_counts)

    def words(self) -> dict[str, str]:
        """Return the texts as they were recorded, which is without personal data."""
        return dict(self.recorded_words)

    def named_ids(self) -> dict[str, tuple[str, ...]]:
        """Return the ids as they were recorded."""
        return dict(self.recorded_ids)


Result = TypeVar("Result", bound=SubtaskResult)


class Completed(BaseModel):
    """The subtask did all that was due, or as much as its limits allowed."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    status: Literal["completed"] = "completed"
    result: SubtaskResult
    duration_ms: int = 0


class Failed(BaseModel):
    """The subtask stopped with an error; ``result`` holds what it did before, if that is known."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    status: Literal["failed"] = "failed"
    error: str
    result: SubtaskResult | None = None
    duration_ms: int = 0


class Skipped(BaseModel):
    """The subtask did not run, because a component that it needs is not configured."""

    model_config = ConfigDict(frozen=True)

    status: Literal["skipped"] = "skipped"
    reason: str
    duration_ms: int = 0


class NotChosen(Skipped):
    """The run left the subtask out on purpose. It is shown as skipped; nothing is observed, tagged or alerted."""

    reason: str = "not chosen for this run"


Outcome: TypeAlias = Completed | Failed | Skipped

STATUSES: Final = ("completed", "failed", "skipped")


class SubtaskFailed(Exception, Generic[Result]):
    """Raised by a subtask that has to stop, with what it did before."""

    def __init__(self, message: str, result: Result) -> None:
        super().__init__(message)
        self.result = result


def result_of(outcome: Outcome) -> SubtaskResult:
    """Return what a subtask did; an empty result for one that was skipped or failed before it did anything."""
    result = None if isinstance(outcome, Skipped) else outcome.result
    return SubtaskResult() if result is None else result


def sentence_of(outcome: Outcome) -> str | None:
    """Return why a subtask failed or was skipped; ``None`` for one that completed."""
    match outcome:
        case Failed(error=error):
            return error
        case Skipped(reason=reason):
            return reason
        case Completed():
            return None


def format_outcome(outcome: Outcome) -> str:
    """Return an outcome as one line of text: the reason or error, and the counts."""
    parts = (sentence_of(outcome), format_counts(result_of(outcome).counts()))
    return "; ".join(part for part in parts if part) or "nothing due"


def outcome_facts(outcome: Outcome) -> dict[str, Count | str | tuple[str, ...]]:
    """Return an outcome as plain values by name: status, duration, reason or error, counts, texts and ids.

    These names are the keys of the metadata in the UI and of ``mika-ops run --json``.
    """
    facts: dict[str, Count | str | tuple[str, ...]] = {"status": outcome.status, "duration_ms": outcome.duration_ms}
    match outcome:
        case Skipped(reason=reason):
            facts["reason"] = reason
        case Failed(error=error):
            facts["error"] = error
    result = result_of(outcome)
    # A field of a result never hides the status, the duration or the error.
    return {**facts, **result.counts(), **result.words(), **facts, **result.named_ids()}


def count_statuses(outcomes: Iterable[Outcome]) -> dict[str, int]:
    """Return how many subtasks ended with each status."""
    statuses = [outcome.status for outcome in outcomes]
    return {status: statuses.count(status) for status in STATUSES}


def merge_outcomes(outcomes: Sequence[Outcome]) -> Outcome:
    """Return the outcome of a subtask from the outcomes of its shards.

    Counts are added up; the duration is the longest one. The subtask failed if any shard failed, with each error once;
    it was skipped if all shards were.
    """
    duration_ms = max(outcome.duration_ms for outcome in outcomes)
    # A skipped shard has no effect on the outcome of the others.
    ran = [outcome for outcome in outcomes if not isinstance(outcome, Skipped)]
    if not ran:
        return outcomes[0].model_copy(update={"duration_ms": duration_ms})
    result = _merge_results([result_of(outcome) for outcome in ran])
    if errors := [outcome.error for outcome in ran if isinstance(outcome, Failed)]:
        return Failed(error=_merge_lines(errors), result=result, duration_ms=duration_ms)
    return Completed(result=result, duration_ms=duration_ms)


def _merge_results(results: Sequence[SubtaskResult]) -> RecordedResult:
    counts: dict[str, Count] = {}
    words: dict[str, list[str]] = {}
    ids: dict[str, list[str]] = {}
    for result in results:
        for name, count in result.counts().items():
            before = counts.get(name, type(count)())
            counts[name] = (before or count) if isinstance(count, bool) else before + count
        for name, text in result.words().items():
            words.setdefault(name, []).append(text)
        for name, named in result.named_ids().items():
            ids.setdefault(name, []).extend(named)
    return RecordedResult(
        recorded_counts=counts,
        recorded_words={name: min(texts) if name == "oldest" else _merge_lines(texts) for name, texts in words.items()},
        recorded_ids={name: tuple(dict.fromkeys(named))[:IDS_NAMED] for name, named in ids.items()},
    )


def _merge_lines(texts: Sequence[str]) -> str:
    lines = dict.fromkeys(line for text in texts for line in text.split("\n"))
    return "\n".join(list(lines)[:IDS_NAMED])


def _are_texts(values: tuple[Any, ...]) -> bool:
    return bool(values) and all(isinstance(value, str) for value in values)
