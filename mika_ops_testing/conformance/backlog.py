"""The conformance suite of ``BacklogReader``."""

from collections.abc import Callable
from typing import Any

import pytest

from mika_ops.ports.backlog import Backlog, BacklogInspector, BacklogReader, Due, NamesRows
from mika_ops_testing.builders import AFTER, EARLIER, LATER, NOW, acp_session
from mika_ops_testing.conformance.expectations import expect, expect_equal, expect_port, expect_type, required
from mika_ops_testing.conformance.selections import OF_MAINTENANCE, SHOP, expected_candidates
from mika_ops_testing.conformance.shop_data import EphemeralRow, Reservation, ShopData

MakeBacklog = Callable[[ShopData], BacklogReader]
"""Takes what is in a shop and returns a reader of its backlog."""

ROWS = {
    "stock_reservations": ShopData(
        reservations=[Reservation("a"), Reservation("b", expires_at=NOW), Reservation("c", expires_at=AFTER)]
    ),
    "ephemeral_records": ShopData(
        ephemeral=[EphemeralRow("a"), EphemeralRow("b", expires_at=NOW), EphemeralRow("c", expires_at=AFTER)]
    ),
    "acp_sessions": ShopData(
        acp_sessions=[acp_session("a"), acp_session("b", purgeAt=NOW), acp_session("c", expiresAt=LATER)]
    ),
}
"""For each subtask that works on rows, two that are due and one that is not."""


class BacklogReaderConformance:
    """Holds a backlog reader against its port. A host defines the fixture ``make_backlog``."""

    @pytest.fixture
    def make_backlog(self) -> Any:
        """Return a function that takes ``ShopData`` and returns the reader."""
        required("make_backlog", "a function that takes ShopData and returns your reader of a shop with only this")

    def test_it_has_the_methods_of_the_port(self, make_backlog: MakeBacklog) -> None:
        """The port: `read` exists."""
        expect_port(make_backlog(ShopData()), BacklogReader)

    def test_an_empty_shop_has_no_backlog(self, make_backlog: MakeBacklog) -> None:
        """`read`: returns a `Backlog`, which has nothing due in an empty shop."""
        found = read(make_backlog(ShopData()))
        expect_equal((found.total, found.unreadable), (0, 0), "an empty shop has nothing due and nothing unreadable")

    @pytest.mark.parametrize("case", OF_MAINTENANCE)
    def test_the_documents_of_a_selection_are_counted(self, case: str, make_backlog: MakeBacklog) -> None:
        """`Due.count`: the documents that are due; `Due.malformed`: those that cannot be read, counted apart."""
        expected = expected_candidates(OF_MAINTENANCE[case], SHOP)
        malformed = sum(candidate.malformed for candidate in expected)
        found = read(make_backlog(ShopData(ops=SHOP))).due
        expect(case in found, f"answer for every key of `selections`: {case!r} is missing")
        counted = found[case].count, found[case].malformed
        advice = f"count the documents of {case!r} by selection.takes, those that raise MalformedDocument apart"
        expect_equal(counted, (len(expected) - malformed, malformed), advice)

    @pytest.mark.parametrize("case", ROWS)
    def test_rows_that_are_due_are_counted_or_left_out(self, case: str, make_backlog: MakeBacklog) -> None:
        """`read`: rows are counted under the name of their subtask; what cannot be counted may be left out."""
        found = read(make_backlog(ROWS[case])).due
        advice = f"count the rows of {case!r} that are due at `now`, or leave {case!r} out of the answer"
        expect_equal(found.get(case, Due(2)).count, 2, advice)

    def test_the_oldest_is_a_time_or_unknown(self, make_backlog: MakeBacklog) -> None:
        """`Due.oldest`: when the first became due; `None` if that is not known."""
        oldest = {name: due.oldest for name, due in read(make_backlog(ShopData(ops=SHOP))).due.items()}
        wrong = {name: time for name, time in oldest.items() if time is not None and not EARLIER[:2] <= time <= NOW}
        expect_equal(wrong, {}, "Due.oldest must be a time that is reached at `now`, or None")

    def test_reading_changes_nothing(self, make_backlog: MakeBacklog) -> None:
        """`read`: counts, and changes nothing: read again, the backlog is the same."""
        reader = make_backlog(ShopData(ops=SHOP, reservations=[Reservation("a")], ephemeral=[EphemeralRow("a")]))
        expect_equal(read(reader), read(reader), "reading the backlog must not change it")

    @pytest.mark.parametrize("case", OF_MAINTENANCE)
    def test_the_first_documents_are_named_in_order(self, case: str, make_backlog: MakeBacklog) -> None:
        """`BacklogInspector.first_documents`: the first documents that match, in order, without malformed ones."""
        reader = make_backlog(ShopData(ops=SHOP))
        if not isinstance(reader, BacklogInspector):
            pytest.skip("to include this test, give your reader the optional methods of BacklogInspector")
        expected = [each.id for each in expected_candidates(OF_MAINTENANCE[case], SHOP) if not each.malformed]
        for limit in (1, len(SHOP)):
            found = list(reader.first_documents(OF_MAINTENANCE[case], limit=limit))
            advice = "name the first documents that selection.takes accepts, by selection.sort_key, at most `limit`"
            expect_equal(found, expected[:limit], advice)

    @pytest.mark.parametrize("case", ROWS)
    def test_the_first_rows_are_named(self, case: str, make_backlog: MakeBacklog) -> None:
        """`NamesRows.first_ids`: the ids of the rows that are due; empty if the key of the rows is a secret."""
        reader = make_backlog(ROWS[case])
        if not isinstance(reader, NamesRows):
            pytest.skip("to include this test, give your reader the optional method first_ids")
        for limit in (1, 9):
            found = list(reader.first_ids(case, now=NOW, limit=limit))
            secret = case == "ephemeral_records"
            expected = [] if secret else ["a", "b"][:limit]
            advice = "no ids: the keys are secrets" if secret else "name the rows that are due, at most `limit`"
            expect_equal(sorted(found), expected, advice)


def read(reader: BacklogReader) -> Backlog:
    """Read the backlog of the selections of maintenance, and check the type of the result."""
    __tracebackhide__ = True
    found: Any = reader.read(OF_MAINTENANCE, now=NOW)
    expect_type(found, Backlog, "read must return mika_ops.ports.Backlog")
    assert isinstance(found, Backlog)
    return found
