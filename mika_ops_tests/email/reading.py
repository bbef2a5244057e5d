"""The HTML of an email as its reader sees it, and as a browser does."""

import re
from html import unescape
from html.parser import HTMLParser


def text_of(html: str) -> str:
    """What a reader of the HTML sees, on one line."""
    body = html[html.index("<body") :]
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", body)).split())


def markup_of(html: str) -> list[str]:
    """The tags, each with the names of its attributes, and the comments."""
    tags = _Tags()
    tags.feed(html)
    return tags.seen


def links_of(html: str) -> list[str]:
    """Where the links lead, in order."""
    tags = _Tags()
    tags.feed(html)
    return tags.links


class _Tags(HTMLParser):
    """Collects the tags and the names of their attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value or "" for name, value in attrs if name == "href"]
        self.seen.append(f"{tag} {sorted(name for name, _ in attrs)}")

    def handle_comment(self, data: str) -> None:
        self.seen.append("comment")
