"""Links in emails: which may be put under a button."""

from urllib.parse import urlsplit


def is_link(text: str) -> bool:
    """Say whether the text is an http or https address, and nothing beside it."""
    if not text.isprintable() or " " in text:
        return False
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)
