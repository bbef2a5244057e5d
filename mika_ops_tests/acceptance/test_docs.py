"""The pages for developers name what there is."""

import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
PAGES = sorted([*PROJECT.glob("*.md"), *(PROJECT / "docs").rglob("*.md")])
PACKAGE = PROJECT / "mika_ops"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_every_file_that_a_page_links_is_there(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:|mailto:|#)([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_glossary_names_modules_that_exist_and_is_sorted() -> None:
    rows = re.findall(
        r"^\| ([^|]+) \| [^|]+ \| (`[^|]+`) \|$", (PROJECT / "docs/glossary.md").read_text(), re.MULTILINE
    )
    assert len(rows) > 40
    assert [term for term, _ in rows] == sorted((term for term, _ in rows), key=str.lower)
    places = {place for _, cell in rows for place in re.findall(r"`([^`]+)`", cell)}
    assert [place for place in sorted(places) if not (PACKAGE / place).exists()] == []


def test_the_architecture_describes_every_package() -> None:
    described = set(
        re.findall(r"^\| `(\w+)` \|", (PROJECT / "docs/architecture.md").read_text(encoding="utf-8"), re.MULTILINE)
    )
    assert described == {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
