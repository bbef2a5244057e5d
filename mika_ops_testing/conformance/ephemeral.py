"""The conformance suites of ``EphemeralPurge`` and ``EphemeralRepository``."""

from collections.abc import Callable
from typing import Any

import pytest

from mika_ops.deadline import never_out_of_time
from mika_ops.ports.ephemeral import EphemeralPurge, EphemeralRepository
from mika_ops_testing.builders import AFTER, BEFORE, EARLIER, LATER, NOW
from mika_ops_testing.conformance.expectations import expect_equal, expect_port, required
from mika_ops_testing.conformance.shop_data import EphemeralRow

MakeEphemeral = Callable[..., Any]
"""Takes rows and returns the component that holds exactly these."""

KINDS = ("token", "rate_limit", "lock", "nonce", "cache_marker")


class EphemeralPurgeConformance:
    """Holds an ``EphemeralPurge`` against its port. A host defines the fixture ``make_ephemeral``.

    ``kinds`` are the kinds of rows that the component keeps.
    """

    kinds: tuple[str, ...] = KINDS

    @pytest.fixture
    def make_ephemeral(self) -> Any:
        """Return a function that takes rows and returns the component."""
        required("make_ephemeral", "a function that takes EphemeralRow and returns your component with only these rows")

    def test_it_can_purge(self, make_ephemeral: MakeEphemeral) -> None:
        """The port: `purge_expired` exists."""
        expect_port(make_ephemeral(), EphemeralPurge)

    @pytest.mark.parametrize(("expires_at", "purged"), [(EARLIER, 1), (BEFORE, 1), (NOW, 1), (AFTER, 0), (LATER, 0)])
    def test_a_row_is_purged_at_its_end(self, expires_at: str, purged: int, make_ephemeral: MakeEphemeral) -> None:
        """`purge_expired`: rows with `expires_at <= due`, to the millisecond."""
        rows = make_ephemeral(EphemeralRow("a", self.kinds[0], expires_at=expires_at))
        expect_equal(purge(rows), purged, "delete a row if its expires_at <= due, also if they are equal")

    def test_rows_of_every_kind_are_purged_and_counted(self, make_ephemeral: MakeEphemeral) -> None:
        """`purge_expired`: deletes all that have expired, and returns how many."""
        rows = make_ephemeral(*(EphemeralRow(f"{kind}:{n}", kind) for kind in self.kinds for n in range(3)))
        expect_equal(purge(rows), 3 * len(self.kinds), "delete expired rows of every kind, and return how many")

    def test_a_row_that_has_not_expired_is_kept(self, make_ephemeral: MakeEphemeral) -> None:
        """The ports: a method may be called again; what is not due stays for a later run."""
        kind = self.kinds[0]
        rows = make_ephemeral(EphemeralRow("old", kind), EphemeralRow("live", kind, expires_at=LATER))
        purge(rows)
        expect_equal(purge(rows), 0, "a row that is purged must be gone")
        expect_equal(purge(rows, due=LATER), 1, "keep a row that has not expired")

    def test_nothing_is_purged_without_time(self, make_ephemeral: MakeEphemeral) -> None:
        """`out_of_time`: asked before each batch."""
        rows = make_ephemeral(EphemeralRow("a", self.kinds[0]))
        advice = "ask out_of_time() before each batch, and return if it is true"
        expect_equal(purge(rows, out_of_time=lambda: True), 0, advice)
        expect_equal(purge(rows), 1, "the next run must find what was left")


class EphemeralRepositoryConformance(EphemeralPurgeConformance):
    """Holds an ``EphemeralRepository`` against its port. A host defines the fixture ``make_ephemeral``."""

    def test_it_can_delete_tokens(self, make_ephemeral: MakeEphemeral) -> None:
        """The port: `delete_tokens` exists."""
        expect_port(make_ephemeral(), EphemeralRepository)

    def test_tokens_and_cache_markers_of_a_subject_are_deleted(self, make_ephemeral: MakeEphemeral) -> None:
        """`delete_tokens`: tokens and cache markers, no other kinds, whenever they end."""
        kept = [EphemeralRow(kind, kind, "ada", expires_at=LATER) for kind in self.kinds]
        rows = make_ephemeral(*kept)
        deleted = [kind for kind in self.kinds if kind in ("token", "cache_marker")]
        advice = "delete the tokens and cache markers of the subject, and no other kinds of rows"
        expect_equal(delete_tokens(rows, "ada"), {"ada": len(deleted)}, advice)
        expect_equal(purge(rows, due=LATER), len(self.kinds) - len(deleted), advice)

    def test_tokens_are_counted_by_subject_and_others_are_kept(self, make_ephemeral: MakeEphemeral) -> None:
        """`delete_tokens`: returns how many, by subject; zeros may be left out."""
        subjects = {"a": "customer:ada", "b": "customer:ada", "c": "email:hash", "d": "user:bo", "e": None}
        rows = make_ephemeral(*(EphemeralRow(key, subject=subject) for key, subject in subjects.items()))
        found = delete_tokens(rows, "customer:ada", "email:hash", "nobody")
        advice = "delete the tokens of these subjects, which match the whole text, and count them by subject"
        expect_equal(found, {"customer:ada": 2, "email:hash": 1}, advice)
        expect_equal(purge(rows), 2, "keep the tokens of other subjects, and those without a subject")

    def test_no_subjects_delete_nothing(self, make_ephemeral: MakeEphemeral) -> None:
        """`delete_tokens`: no subjects, no tokens."""
        rows = make_ephemeral(EphemeralRow("a"), EphemeralRow("b", subject="ada"))
        expect_equal(delete_tokens(rows), {}, "delete_tokens([]) must delete nothing")
        expect_equal(purge(rows), 2, "delete_tokens([]) must delete nothing")


def purge(rows: EphemeralPurge, *, due: str = NOW, out_of_time: Callable[[], bool] = never_out_of_time) -> int:
    """Purge what has expired."""
    return rows.purge_expired(due=due, out_of_time=out_of_time)


def delete_tokens(rows: EphemeralRepository, *subjects: str) -> dict[str, int]:
    """Delete the tokens of these subjects; leave zeros out of the result."""
    return {subject: count for subject, count in rows.delete_tokens(subjects).items() if count}
