"""Runs a conformance suite on a component and returns which of its tests fail, and with what message."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any, TypeAlias

import pytest

Fixtures: TypeAlias = Mapping[str, Callable[[], Any]]
"""By fixture, a function that returns its value for one test."""


def names_of_tests(suite: type) -> list[str]:
    """Return the names of a suite's tests."""
    return [name for name, _ in inspect.getmembers(suite, inspect.isfunction) if name.startswith("test_")]


def failures(test_class: type, make: Fixtures, *, only: str | None = None) -> dict[str, str]:
    """Run every test of a class, or one of them; return those that failed, with their first messages."""
    failed: dict[str, str] = {}
    for name in names_of_tests(test_class) if only is None else [only]:
        for arguments in cases_of(getattr(test_class, name)):
            message = failure(test_class(), name, arguments, make)
            if message is not None:
                failed.setdefault(name, message)
    return failed


def failure(test: Any, name: str, arguments: Mapping[str, Any], make: Fixtures) -> str | None:
    """Run one test with these arguments; return its message if it fails."""
    method = getattr(test, name)
    wanted = [parameter for parameter in inspect.signature(method).parameters if parameter not in arguments]
    if not set(wanted) <= set(make):
        return None  # It needs an optional fixture that is not given.
    try:
        method(**arguments, **{fixture: make[fixture]() for fixture in wanted})
    except pytest.skip.Exception:
        return None
    except Exception as error:  # noqa: BLE001 - a component may raise anything
        return f"{type(error).__name__}: {error}"
    return None


def cases_of(test: Any) -> Iterator[dict[str, Any]]:
    """Yield the arguments of each case of a parametrized test."""
    marks = [mark for mark in getattr(test, "pytestmark", []) if mark.name == "parametrize"]
    for rows in product(*(list(mark.args[1]) for mark in marks)):
        arguments: dict[str, Any] = {}
        for mark, row in zip(marks, rows, strict=True):
            names = [mark.args[0]] if isinstance(mark.args[0], str) else mark.args[0]
            arguments |= dict(zip(names, (row,) if len(names) == 1 else row, strict=True))
        yield arguments


@dataclass(frozen=True)
class Wrong:
    """A component that breaks a promise, the test that it must fail, and words of the message."""

    suite: type
    test: str
    words: str
    make: Fixtures

    def check(self) -> None:
        """Fail unless the test of that promise fails with these words."""
        message = failures(self.suite, self.make, only=self.test).get(self.test, "no failure")
        assert self.words in message

    def __str__(self) -> str:
        return f"{self.suite.__name__}-{self.test}-{self.words}"
