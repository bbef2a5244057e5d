"""Every recorded run of the reference comes out the same here, but for the deviations that are listed."""

from pathlib import Path

import pytest

from mika_ops.store.database import Database
from mika_ops_tests.acceptance.parity import differences, load, play
from mika_ops_tests.conftest import SHARED

CASES = sorted((SHARED / "parity" / "cases").glob("*.json"))


@pytest.mark.skipif(not CASES, reason="the recorded cases are not beside this checkout, in ../shared/parity/cases")
@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_a_recorded_run_comes_out_the_same(path: Path, database: Database) -> None:
    case = load(path)
    assert differences(case, play(case, database)) == []
