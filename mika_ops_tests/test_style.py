"""Words that do not explain themselves are not used: the package and its pages say what a technical editor would."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]

REPLACED = {
    r"told": "report, log, notify or alert",
    r"mend(s|ed|ing)?": "fix or repair",
    r"for ever": "indefinitely",
    r"failed for good": "failed permanently",
    r"waits? for a person": "needs manual action",
    r"taken as meant": "skipped on purpose",
    r"calls for nothing": "a no-op call",
    r"have a look": "check, query or probe",
}
"""The words, as regular expressions, and what to write instead."""


def texts() -> Iterator[Path]:
    yield from sorted((PROJECT / "mika_ops").rglob("*.py"))
    yield from sorted((PROJECT / "mika_ops").rglob("*.j2"))
    yield from sorted((PROJECT / "examples").rglob("*.py"))
    yield from sorted([*PROJECT.glob("*.md"), *(PROJECT / "docs").rglob("*.md")])


@pytest.mark.parametrize("word", REPLACED)
def test_a_word_that_is_replaced_does_not_occur(word: str) -> None:
    pattern = re.compile(rf"\b{word}\b", re.IGNORECASE)
    found = [
        f"{path.relative_to(PROJECT)}:{number}: write {REPLACED[word]}"
        for path in texts()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if pattern.search(line)
    ]
    assert found == []
