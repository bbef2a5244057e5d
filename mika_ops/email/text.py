"""Makes texts from documents safe for one line of an email or of a header."""

import re
from typing import Final

_INVISIBLE: Final = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Control characters, and those that change the direction of the text after them."""

_LONE_SURROGATE: Final = re.compile("[\ud800-\udfff]")
"""JSON can hold half of a character; UTF-8 cannot encode it."""


def one_line(text: str, *, longest: int) -> str:
    """Return the text on one line, at most ``longest`` characters of it; a shortened text ends in an ellipsis.

    Line breaks, tabs and runs of spaces become one space; control characters are removed.
    """
    flat = " ".join(_INVISIBLE.sub("", " ".join(text.split())).split())
    whole = _LONE_SURROGATE.sub("\ufffd", flat)
    return whole if len(whole) <= longest else whole[: longest - 1].rstrip() + "…"
