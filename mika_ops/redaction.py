"""Keeping people and secrets out of what is kept: errors, logs and metadata hold neither addresses nor links."""

import re
from typing import Final

_LINK: Final = re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s\"'<>]+", re.IGNORECASE)
_ADDRESS: Final = re.compile(r"(?:\"[^\"]*\"|[^\s\"'<>()\[\],;:]+)@[^\s\"'<>()\[\],;:]+")
_TOKEN: Final = re.compile(r"\b(?:ec_pat_|Bearer\s+)\S+", re.IGNORECASE)

LONGEST_SENTENCE: Final = 500


def redact(text: str) -> str:
    """Return the text on one line, without links, addresses and tokens, and not longer than a sentence should be.

    What cannot be printed is left out as well: a NUL or half of a surrogate pair cannot be stored by Postgres.
    """
    flat = " ".join("".join(character if character.isprintable() else " " for character in text).split())
    for pattern, stand_in in ((_LINK, "<link>"), (_TOKEN, "<token>"), (_ADDRESS, "<address>")):
        flat = pattern.sub(stand_in, flat)
    return flat if len(flat) <= LONGEST_SENTENCE else flat[: LONGEST_SENTENCE - 1] + "…"


def describe_error(error: BaseException) -> str:
    """Say what an error says, safely; an error without words is named by its type."""
    return redact(str(error)) or type(error).__name__
