"""Validators of values of settings."""

from collections.abc import Mapping
from datetime import datetime
from difflib import get_close_matches
from typing import Final

from pydantic import SecretStr

from mika_ops.email.links import is_link
from mika_ops.subtasks.registry import SUBTASK_NAMES, SUBTASKS
from mika_ops.timestamps import to_datetime

LIMITED_SUBTASKS: Final = tuple(subtask.name for subtask in SUBTASKS if subtask.limited)


def require_time(text: str) -> datetime:
    """Return the time in a text that a person wrote. Raises ``ValueError`` for any other text."""
    try:
        return to_datetime(text)
    except ValueError:
        raise ValueError(f"{text!r} is no time: write ISO 8601, such as 2026-03-01T12:00:00Z") from None


def require_limits(limits: Mapping[str, int]) -> dict[str, int]:
    """Return limits. Raises ``ValueError`` if one is negative, or names something else than a subtask with a limit."""
    for name, limit in limits.items():
        if name not in LIMITED_SUBTASKS:
            raise ValueError(f"{name!r} takes no limit: write one of {', '.join(LIMITED_SUBTASKS)}")
        if limit < 0:
            raise ValueError(f"the limit of {name} is {limit}: it must be 0 or more")
    return dict(limits)


def require_subtasks(names: tuple[str, ...] | list[str]) -> tuple[str, ...]:
    """Return names of subtasks. Raises ``ValueError`` for another name, with the closest name of a subtask."""
    for name in names:
        if name not in SUBTASK_NAMES:
            close = get_close_matches(name, SUBTASK_NAMES, n=1)
            hint = f"did you mean {close[0]}?" if close else f"write one of {', '.join(SUBTASK_NAMES)}"
            raise ValueError(f"{name!r} is no subtask: {hint}")
    return tuple(names)


def require_link(url: str) -> None:
    """Raise ``ValueError`` for a URL that emails do not show as a link."""
    if not url.isprintable() or " " in url:
        raise ValueError("is no link: it has a space or an invisible character")
    if not is_link(url):
        raise ValueError("is no link: it must start with https:// or http:// and name a site")


def reveal(secret: SecretStr | None) -> str | None:
    """Return the text of a secret, or ``None`` if it is not set."""
    return None if secret is None else secret.get_secret_value()
