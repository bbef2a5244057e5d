"""How a conformance test fails: with what the host has to do, what was expected and what came back."""

import pytest

from mika_ops.host.port_check import mismatch


def expect(holds: bool, advice: str) -> None:
    """Fail with ``advice``, which says what the host has to do, unless the promise holds."""
    __tracebackhide__ = True
    if not holds:
        raise AssertionError(advice)


def expect_equal(found: object, expected: object, advice: str) -> None:
    """Fail with ``advice`` and both values unless they are equal."""
    __tracebackhide__ = True
    if found != expected:
        raise AssertionError(f"{advice}\n  expected: {expected!r}\n  returned: {found!r}")


def expect_type(found: object, type_: type, advice: str) -> None:
    """Fail with ``advice`` unless the value is of the type that the port names."""
    __tracebackhide__ = True
    if not isinstance(found, type_):
        raise AssertionError(f"{advice}\n  expected: {type_.__name__}\n  returned: {type(found).__name__}")


def expect_port(component: object, port: type) -> None:
    """Fail with the methods that the component lacks."""
    __tracebackhide__ = True
    lacks = mismatch("the component under test", port, component)
    if lacks is not None:
        raise AssertionError(lacks)


def required(fixture: str, returns: str) -> None:
    """Fail because the host's test class has to define a fixture."""
    pytest.fail(f"define the fixture {fixture} in your test class; it returns {returns}", pytrace=False)


def optional(fixture: str, returns: str) -> None:
    """Skip because the host's test class does not define an optional fixture."""
    pytest.skip(f"to include this test, define the fixture {fixture}; it returns {returns}")
