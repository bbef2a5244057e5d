"""Runs a conformance suite on a component and returns which of its tests fail, and with what message."""

import inspect
from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

import pytest


def names_of_tests(suite: type) -> list[str]:
    """Return the names of a suite's tests."""
    return [name for name, _ in inspect.getmembers(suite, inspect.isfunction) if name.startswith("test_")]


def failures(test_class: type, make: Mapping[str, Any]) -> dict[str, str]:
    """Run every test of a class. ``make`` holds, by fixture, a function that returns its value for one test.

    Return the failed tests with their first messages.
    """
    failed: dict[str, str] = {}
    for name in names_of_tests(test_class):
        for arguments in cases_of(getattr(test_class, name)):
            message = failure(test_class(), name, arguments, make)
            if message is not None:
                failed.setdefault(name, message)
    return failed


def failure(test: Any, name: str, arguments: Mapping[str, Any], make: Mapping[str, Any]) -> str | None:
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
