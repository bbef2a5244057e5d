"""Document repositories that are wrong, each in one way."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from examples.own_host_documents import Documents
from mika_ops.documents.document import Document, MalformedDocument
from mika_ops.documents.selection import Selection
from mika_ops.ports import Candidate, Change, Changes, Note, Rule


class Reading(Documents):
    """Documents whose candidates are put through ``wrong``."""

    def candidates(self, selection: Selection, *, after: Candidate | None, limit: int) -> Sequence[Candidate]:
        return self.wrong(list(super().candidates(selection, after=after, limit=limit)))

    def wrong(self, found: list[Candidate]) -> list[Candidate]:
        raise NotImplementedError


class IgnoresTheLimit(Documents):
    def candidates(self, selection: Selection, *, after: Candidate | None, limit: int) -> Sequence[Candidate]:
        return super().candidates(selection, after=after, limit=1_000)


class IgnoresAfter(Documents):
    def candidates(self, selection: Selection, *, after: Candidate | None, limit: int) -> Sequence[Candidate]:
        return super().candidates(selection, after=None, limit=limit)


class GoesOnByDocument(Documents):
    """Looks for the document of ``after`` among what is taken now."""

    def candidates(self, selection: Selection, *, after: Candidate | None, limit: int) -> Sequence[Candidate]:
        found = list(super().candidates(selection, after=None, limit=1_000))
        start = found.index(after) + 1 if after in found else 0
        return found[start : start + limit]


class GoesOnById(Documents):
    def candidates(self, selection: Selection, *, after: Candidate | None, limit: int) -> Sequence[Candidate]:
        found = super().candidates(selection, after=None, limit=1_000)
        return [candidate for candidate in found if after is None or candidate.id > after.id][:limit]


class LosesOrder(Reading):
    def wrong(self, found: list[Candidate]) -> list[Candidate]:
        return found[::-1]


class SortsIdsByCase(Reading):
    def wrong(self, found: list[Candidate]) -> list[Candidate]:
        return sorted(found, key=lambda candidate: (candidate.sorted_by, candidate.id.lower()))


class SortsAbsentTimesLast(Reading):
    def wrong(self, found: list[Candidate]) -> list[Candidate]:
        return sorted(found, key=lambda candidate: (candidate.sorted_by or "9", candidate.id))


class LeavesOutMalformed(Reading):
    """Returns a page without its malformed documents, so that it is short."""

    def wrong(self, found: list[Candidate]) -> list[Candidate]:
        return [candidate for candidate in found if not candidate.malformed]


class MarksNothing(Reading):
    def wrong(self, found: list[Candidate]) -> list[Candidate]:
        return [replace(candidate, malformed=False) for candidate in found]


class SortedByNothing(Reading):
    def wrong(self, found: list[Candidate]) -> list[Candidate]:
        return [replace(candidate, sorted_by="") for candidate in found]


class KeepsTheFirstTime(Documents):
    first: Selection | None = None

    def candidates(self, selection: Selection, *, after: Candidate | None, limit: int) -> Sequence[Candidate]:
        self.first = self.first or selection
        return super().candidates(selection.at(str(self.first.time)), after=after, limit=limit)


class TakesEverything(Documents):
    def candidates(self, selection: Selection, *, after: Candidate | None, limit: int) -> Sequence[Candidate]:
        return [Candidate(id_, "") for id_ in sorted(self._documents)][:limit]


class LeasesWhileFinding(Documents):
    def candidates(self, selection: Selection, *, after: Candidate | None, limit: int) -> Sequence[Candidate]:
        found = super().candidates(selection, after=after, limit=limit)
        self._documents |= {each.id: {**self._documents[each.id], "lease": True} for each in found}
        return found


class ReadsAll(Documents):
    def read(self, ids: Sequence[str]) -> Mapping[str, Document]:
        return dict(self._documents)


class RaisesForMissing(Documents):
    def read(self, ids: Sequence[str]) -> Mapping[str, Document]:
        return {id_: self._documents[id_] for id_ in ids}


class ReadsTheRecordAlone(Documents):
    def read(self, ids: Sequence[str]) -> Mapping[str, Document]:
        return {id_: document.get("record", {}) for id_, document in super().read(ids).items()}


class Changing(Documents):
    """Documents whose ``change`` is passed to ``changed``, with neither ``wait`` nor ``seen``."""

    def change(
        self, ids: Sequence[str], rule: Rule[Note], *, wait: bool = False, seen: Mapping[str, Document] | None = None
    ) -> Changes[Note]:
        return self.changed(ids, rule)

    def changed(self, ids: Sequence[str], rule: Rule[Note]) -> Changes[Note]:
        raise NotImplementedError

    def right(self, ids: Sequence[str], rule: Rule[Note]) -> Changes[Note]:
        return super().change(ids, rule)


class WritesNothing(Changing):
    def changed(self, ids: Sequence[str], rule: Rule[Note]) -> Changes[Note]:
        before = dict(self._documents)
        changes = self.right(ids, rule)
        self._documents = before
        return changes


class WritesAlthoughTheRuleReturnedNothing(Changing):
    def changed(self, ids: Sequence[str], rule: Rule[Note]) -> Changes[Note]:
        changes = self.right(ids, rule)
        self._documents |= {id_: {**self._documents[id_], "touched": True} for id_ in ids if id_ in self._documents}
        return changes


class RewritesWhatIsLeft(Changing):
    def changed(self, ids: Sequence[str], rule: Rule[Note]) -> Changes[Note]:
        changes = self.right(ids, rule)
        left = {id_: {**self._documents[id_], "touched": True} for id_ in changes.left if id_ in self._documents}
        self._documents |= left
        return changes


class LosesNotes(Changing):
    def changed(self, ids: Sequence[str], rule: Rule[Note]) -> Changes[Note]:
        changes = self.right(ids, rule)
        bare: dict[str, Change[Any]] = {id_: Change(each.document, None) for id_, each in changes.changed.items()}
        return replace(changes, changed=bare)


class SortsWhatItChanged(Changing):
    def changed(self, ids: Sequence[str], rule: Rule[Note]) -> Changes[Note]:
        changes = self.right(ids, rule)
        return replace(changes, changed=dict(sorted(changes.changed.items())))


class ReportsNothingLeft(Changing):
    def changed(self, ids: Sequence[str], rule: Rule[Note]) -> Changes[Note]:
        return replace(self.right(ids, rule), left=())


class DropsNotesWithoutADocument(Changing):
    def changed(self, ids: Sequence[str], rule: Rule[Note]) -> Changes[Note]:
        changes = self.right(ids, rule)
        return replace(changes, changed={id_: each for id_, each in changes.changed.items() if each.document})


class CreatesWhatIsMissing(Changing):
    def changed(self, ids: Sequence[str], rule: Rule[Note]) -> Changes[Note]:
        self._documents |= {id_: {"id": id_} for id_ in ids if id_ not in self._documents}
        return self.right(ids, rule)


class StopsAtMalformed(Changing):
    def changed(self, ids: Sequence[str], rule: Rule[Note]) -> Changes[Note]:
        def strict(id_: str, document: Document) -> Change[Note] | None:
            try:
                return rule(id_, document)
            except MalformedDocument as error:
                raise ValueError(str(error)) from error

        return self.right(ids, strict)


class HidesErrors(Changing):
    def changed(self, ids: Sequence[str], rule: Rule[Note]) -> Changes[Note]:
        def lenient(id_: str, document: Document) -> Change[Note] | None:
            try:
                return rule(id_, document)
            except ZeroDivisionError:
                return None

        return self.right(ids, lenient)


class WritesOneByOne(Changing):
    def changed(self, ids: Sequence[str], rule: Rule[Note]) -> Changes[Note]:
        each = [self.right([id_], rule) for id_ in ids]
        changed = {id_: change for one in each for id_, change in one.changed.items()}
        malformed = {id_: reason for one in each for id_, reason in one.malformed.items()}
        return Changes(changed, [id_ for one in each for id_ in one.left], malformed)


class ChangesAllIfNoneAreNamed(Changing):
    def changed(self, ids: Sequence[str], rule: Rule[Note]) -> Changes[Note]:
        return self.right(ids or list(self._documents), rule)


class ChangesAHundredAtMost(Changing):
    def changed(self, ids: Sequence[str], rule: Rule[Note]) -> Changes[Note]:
        return self.right(ids[:100], rule)


class KeepsKnownFieldsAlone(Changing):
    def changed(self, ids: Sequence[str], rule: Rule[Note]) -> Changes[Note]:
        changes = self.right(ids, rule)
        for id_ in changes.changed:
            document = self._documents[id_]
            self._documents[id_] = {name: value for name, value in document.items() if name != "unknown"}
        return changes


class TrustsSeen(Documents):
    """Applies the rule to what was seen, whatever is stored."""

    def change(
        self, ids: Sequence[str], rule: Rule[Note], *, wait: bool = False, seen: Mapping[str, Document] | None = None
    ) -> Changes[Note]:
        self._documents |= {id_: document for id_, document in (seen or {}).items() if id_ in self._documents}
        return super().change(ids, rule)


class RefusesWhatChangedSinceSeen(Documents):
    """Leaves what is no longer as it was seen, where it should apply the rule to it."""

    def change(
        self, ids: Sequence[str], rule: Rule[Note], *, wait: bool = False, seen: Mapping[str, Document] | None = None
    ) -> Changes[Note]:
        def strict(id_: str, document: Document) -> Change[Note] | None:
            return None if seen is not None and document != seen.get(id_) else rule(id_, document)

        return super().change(ids, strict)


class OverwritesAConcurrentChange(Changing):
    """Applies the rule to a copy and writes it later, without a lock and without comparing."""

    def changed(self, ids: Sequence[str], rule: Rule[Note]) -> Changes[Note]:
        copy = Documents(*(document for id_, document in self._documents.items() if id_ in ids))
        changes = copy.change(ids, rule)
        self._documents |= {id_: each.document for id_, each in changes.changed.items() if each.document is not None}
        return changes


class LosesEveryThirdUpdate(Changing):
    calls = 0

    def changed(self, ids: Sequence[str], rule: Rule[Note]) -> Changes[Note]:
        self.calls += 1
        before = dict(self._documents)
        changes = self.right(ids, rule)
        if self.calls % 3 == 0:
            self._documents = before
        return changes


class LeavesEveryThirdChange(Changing):
    """Leaves documents although it was to wait for them."""

    calls = 0

    def changed(self, ids: Sequence[str], rule: Rule[Note]) -> Changes[Note]:
        self.calls += 1
        return Changes(left=ids) if self.calls % 3 == 0 else self.right(ids, rule)


class ReportsTheFirstAlone(Changing):
    def changed(self, ids: Sequence[str], rule: Rule[Note]) -> Changes[Note]:
        changes = self.right(ids, rule)
        first = list(changes.changed)[:1]
        return replace(changes, changed={id_: changes.changed[id_] for id_ in first})


class ClaimsForBoth(Changing):
    """Reports what the rule would have made of the document as it was first."""

    def __init__(self, *documents: Document) -> None:
        super().__init__(*documents)
        self.first = dict(self._documents)

    def changed(self, ids: Sequence[str], rule: Rule[Note]) -> Changes[Note]:
        self.right(ids, rule)
        return Documents(*self.first.values()).change(ids, rule)


class LacksRead(Documents):
    read = None  # type: ignore[assignment]
