"""Links in emails: which one a document asks for, and whether it may be put under a button."""

from urllib.parse import urlsplit

from mika_ops.rules.document import Document


def link_in(metadata: Document) -> str | None:
    """Return the metadata's ``link``, or its ``url`` where that is no text; ``None`` where it is empty or missing."""
    link = metadata.get("link")
    if not isinstance(link, str):
        link = metadata.get("url")
    return link if isinstance(link, str) and link else None


def is_link(text: str) -> bool:
    """Say whether the text is an http or https address, and nothing beside it."""
    if not text.isprintable() or " " in text:
        return False
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)
