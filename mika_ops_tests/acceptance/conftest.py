"""The example of a host, for every test as it was at first."""

import importlib.util
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "own_host.py"

numbers = count()


@pytest.fixture
def shop() -> Iterator[Any]:
    """Load the example as a module of its own, so that every test has a shop as it was at first."""
    name = f"own_host_{next(numbers)}"
    spec = importlib.util.spec_from_file_location(name, EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[name]
