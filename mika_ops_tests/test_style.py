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
"""Words that the package, its pages and its examples do not use, as regular expressions, and what to write instead."""

TERMS = {
    r"look(s|ed|ing|out)?(?![ _-]?ups?\b| like\b)": "check, query, probe or read; to look up and to look like are fine",
    r"standing": "snapshot",
    r"pieces?": "component",
    r"findings|(a|an|the|each|this|one) finding": "result of a check or a probe",
    r"figures?": "metrics or measurements",
    r"of our own": "own, or mika-ops'",
    r"not[ _]over": "unfinished",
    r"(give|gives|giving|gave|given) back": "release or return",
    r"(try|tries|tried|trying) again": "retry",
}
"""Words that they do not use either, not even as a part of a name."""


def texts() -> Iterator[Path]:
    yield from sorted((PROJECT / "mika_ops").rglob("*.py"))
    yield from sorted((PROJECT / "mika_ops").rglob("*.j2"))
    yield from sorted((PROJECT / "examples").rglob("*.py"))
    yield from sorted([*PROJECT.glob("*.md"), *(PROJECT / "docs").rglob("*.md")])


def found(pattern: str, paths: Iterator[Path], instead: str) -> list[str]:
    compiled = re.compile(pattern, re.IGNORECASE)
    return [
        f"{path.relative_to(PROJECT)}:{number}: write {instead}"
        for path in paths
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if compiled.search(line)
    ]


@pytest.mark.parametrize("word", REPLACED)
def test_a_word_that_is_replaced_does_not_occur(word: str) -> None:
    assert found(rf"\b{word}\b", texts(), REPLACED[word]) == []


@pytest.mark.parametrize("word", TERMS)
def test_the_terms_of_the_field_are_used(word: str) -> None:
    # A part of a name counts as a word: ``_look_over``.
    assert found(rf"(?<![A-Za-z])({word})(?![A-Za-z])", texts(), TERMS[word]) == []


def test_tests_and_benchmarks_name_what_was_reported() -> None:
    this = Path(__file__).resolve()
    folders = ("mika_ops_tests", "mika_ops_testing", "bench")
    paths = (path for folder in folders for path in sorted((PROJECT / folder).rglob("*.py")) if path != this)
    assert found(r"(?<![A-Za-z])told(?![A-Za-z])", paths, "metadata, output, message, or what it is") == []
