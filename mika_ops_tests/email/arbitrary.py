"""Arbitrary documents and texts."""

import json
import operator
from functools import reduce
from typing import Any

from hypothesis import strategies as st

from mika_ops.documents.document import Document

HOSTILE = "\"'<b>&amp;</b>\\\r\nBcc: eve@example.test\t\x00\u202e\ud800 {{ 7*7 }} =?utf-8?q?=0D=0AX:y?="

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from([HOSTILE, "order", "EUR", "https://shop.test/in", "ada@example.test", "refunded"])
)
JSON = SCALARS | st.lists(SCALARS, max_size=2) | st.dictionaries(st.text(max_size=5), SCALARS, max_size=2)


def places(value: Any, *path: Any) -> list[tuple[Any, ...]]:
    """The paths to everything in a document."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, inner in items for place in places(inner, *path, key))]


def damaged(whole: Document) -> st.SearchStrategy[Document]:
    """Documents in which one or two things, anywhere, are something else than they should be."""

    def apply(damages: list[tuple[tuple[Any, ...], Any]]) -> Document:
        document: Document = json.loads(json.dumps(whole))
        # The deepest first, so that every path still leads somewhere.
        for (*path, last), value in sorted(damages, key=lambda damage: len(damage[0]), reverse=True):
            reduce(operator.getitem, path, document)[last] = value
        return document

    return st.lists(st.tuples(st.sampled_from(places(whole)[1:]), JSON), min_size=1, max_size=2).map(apply)
