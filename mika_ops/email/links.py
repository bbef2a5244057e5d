"""Links: which addresses settings accept, and which an email may put under a button."""

from urllib.parse import urlsplit


def is_link(text: str) -> bool:
    """Say whether the text is an http or https address, and nothing else.

    It has no space and no invisible character, names a host, and its port, if any, is one that can be connected to.
    """
    if not text.isprintable() or " " in text:
        return False
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
