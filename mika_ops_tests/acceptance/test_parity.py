"""Every recorded run of the reference comes out the same here, but for the deviations that are listed."""

from pathlib import Path

import pytest

from mika_ops.store.database import Database
from mika_ops_tests.acceptance.parity import check, differences, load, play
from mika_ops_tests.conftest import SHARED

CASES = sorted((SHARED / "parity" / "cases").glob("*.json"))


@pytest.mark.skipif(not CASES, reason="the recorded cases are not beside this checkout, in ../shared/parity/cases")
@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_a_recorded_run_comes_out_the_same(path: Path, database: Database) -> None:
    case = load(path)
    assert differences(case, play(case, database)) == []


def test_a_case_that_cannot_be_played_fails_and_the_others_are_played(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.json").write_text("{")
    (tmp_path / "b.json").write_text('{"before": {"documents": [{"collection": "ops", "id": "x", "data": {}}]}}')

    assert check(sorted(tmp_path.glob("*.json")), "sqlite") == 2

    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[::2]] == ["FAIL", "FAIL"]
    assert all("cannot be played" in line for line in lines[1::2])
