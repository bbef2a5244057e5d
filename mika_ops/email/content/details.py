"""Texts and objects from documents as a few plain lines, for people to read."""

from collections.abc import Iterable, Iterator
from typing import Any, Final

from mika_ops.email.text import one_line

LONGEST_TEXT: Final = 4_000
"""Characters, over all lines."""

MOST_LINES: Final = 100

DEEPEST_INDENT: Final = 8
"""Levels; what lies deeper is shown at this one."""

_WORDS: Final = {None: "none", True: "yes", False: "no"}


def lines_of_text(text: str) -> list[str]:
    """Return the text's lines, safe to print; a long text is shortened and ends in an ellipsis."""
    return _cut(text.splitlines())


def outline_details(details: Any) -> list[str]:
    """Return a JSON value as lines such as ``name: value``, nested values indented; shortened as a text is."""
    return _cut(_outline(details))


def _cut(lines: Iterable[str]) -> list[str]:
    kept: list[str] = []
    left = LONGEST_TEXT
    for line in lines:
        if left <= 0 or len(kept) >= MOST_LINES:
            kept.append("…")
            break
        indent = line[: len(line) - len(line.lstrip(" "))][: DEEPEST_INDENT * 2]
        flat = one_line(line, longest=left)
        # One empty line is a paragraph; more are a gap.
        if flat or (kept and kept[-1]):
            kept.append(indent + flat if flat else "")
            left -= len(flat) + 1
    while kept and not kept[-1]:
        kept.pop()
    return kept


def _outline(value: Any) -> Iterator[str]:
    # A stack, not recursion: JSON may be nested as deep as Python's own stack goes.
    stack = [(0, iter([("", value)]))]
    while stack:
        depth, items = stack[-1]
        for label, item in items:
            indent = "  " * min(depth, DEEPEST_INDENT)
            if isinstance(item, dict | list):
                if label:
                    yield f"{indent}{label}"
                inner = ((f"{key}:", each) for key, each in item.items()) if isinstance(item, dict) else _dashed(item)
                stack.append((depth + bool(label), iter(inner)))
                break
            yield f"{indent}{label} {_scalar(item)}".rstrip() if label else _scalar(item)
        else:
            stack.pop()


def _dashed(items: list[Any]) -> Iterator[tuple[str, Any]]:
    return (("-", each) for each in items)


def _scalar(value: Any) -> str:
    return _WORDS[value] if value is None or isinstance(value, bool) else str(value)
