"""The dry run: what a run would do now, by counts and ids, without changing anything.

It reads the same selections in the same order and with the same limits as a run. It cannot predict the answers of the
mail server and of the site, nor when the time of a run is used up.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from mika_ops.documents.repository import Candidate, DocumentRepository
from mika_ops.documents.selection import Selection
from mika_ops.documents.sweep import IDS_NAMED
from mika_ops.host.components import configured_in
from mika_ops.host.host import Host
from mika_ops.ports.backlog import Backlog, NamesRows
from mika_ops.setting_names import PLAIN_NAMES, SettingNames
from mika_ops.subtasks.outcome import NotChosen, Skipped
from mika_ops.subtasks.registry import SUBTASKS
from mika_ops.subtasks.subtask import RunOptions, Subtask, skip_reason
from mika_ops.timestamps import Timestamp

PAGE: Final = 200

SITE_DECIDES: Final = "the site decides what is due"
UNCOUNTED: Final = "no backlog reader counts what is due"
KEYS_ARE_SECRETS: Final = "not named: their keys are secrets"


@dataclass(frozen=True)
class Preview:
    """What a subtask would do.

    ``due``: its backlog; ``taken``: how much of it a run would process within its limit; both are ``None`` if unknown.
    ``ids`` are the first of what would be processed, in order. Malformed documents would be skipped;
    ``malformed_ids`` are those that precede the last of ``ids``.
    """

    due: int | None = None
    taken: int | None = None
    ids: tuple[str, ...] = ()
    malformed: int = 0
    malformed_ids: tuple[str, ...] = ()
    note: str | None = None


RunPreview: TypeAlias = Mapping[str, Preview | Skipped]
"""The preview of each subtask by name, in the order of a run."""


def preview(
    host: Host,
    *,
    now: Timestamp,
    subtasks: Collection[str],
    limits: Mapping[str, int],
    bounds: RunOptions,
    names: SettingNames = PLAIN_NAMES,
) -> RunPreview:
    """Return what a run of these subtasks at ``now`` would do. Changes nothing.

    ``limits``: the limit of each subtask by name; ``bounds``: the options that apply to every subtask.
    """
    configured = configured_in(host)
    skipped = {subtask.name: _skipped(subtask, configured, subtasks, names) for subtask in SUBTASKS}
    selections = {
        subtask.name: subtask.due(now, bounds)
        for subtask in SUBTASKS
        if subtask.due is not None and skipped[subtask.name] is None
    }
    backlog = Backlog() if host.backlog is None else host.backlog.read(selections, now=now)

    def preview_of(subtask: Subtask) -> Preview | Skipped:
        name = subtask.name
        if (skip := skipped[name]) is not None:
            return skip
        if subtask.site_decides_without not in (None, *configured):
            return Preview(note=SITE_DECIDES)
        due = backlog.due.get(name)
        if due is None:
            return Preview(note=UNCOUNTED)
        taken = min(due.count, limits.get(name, due.count))
        wanted = min(taken, IDS_NAMED)
        if name not in selections:
            if subtask.secret_ids:
                return Preview(due.count, taken, note=KEYS_ARE_SECRETS)
            return Preview(due.count, taken, _first_rows(host.backlog, name, now, wanted))
        ids, malformed_ids = first_of(getattr(host, selections[name].collection), selections[name], wanted)
        return Preview(due.count, taken, ids, due.malformed, malformed_ids)

    return {subtask.name: preview_of(subtask) for subtask in SUBTASKS}


def _skipped(
    subtask: Subtask, components: Collection[str], chosen: Collection[str], names: SettingNames
) -> Skipped | None:
    if subtask.name not in chosen:
        return NotChosen()
    reason = skip_reason(subtask, components, names)
    return None if reason is None else Skipped(reason=reason)


def _first_rows(reader: object, subtask: str, now: Timestamp, wanted: int) -> tuple[str, ...]:
    return tuple(reader.first_ids(subtask, now=now, limit=wanted)) if isinstance(reader, NamesRows) else ()


def first_of(
    repository: DocumentRepository, selection: Selection, wanted: int
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the ids of the first documents that match a selection, and of the malformed ones before them."""
    ids: list[str] = []
    malformed: list[str] = []
    after: Candidate | None = None
    while True:
        page = repository.candidates(selection, after=after, limit=PAGE)
        for candidate in page:
            (malformed if candidate.malformed else ids).append(candidate.id)
        if len(page) < PAGE or len(ids) >= wanted:
            return tuple(ids[:wanted]), tuple(malformed[:IDS_NAMED])
        after = page[-1]
