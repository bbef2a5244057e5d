"""Validates what a host supplies: objects, functions in place of objects with one method, and lazy components.

The definitions are built only with a valid host: an invalid component is rejected before anything runs, with a message
that names the method it lacks.
"""

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, cast

from mika_ops.email.content.brand import Brand
from mika_ops.host.components import COMPONENTS
from mika_ops.host.errors import InvalidHost
from mika_ops.host.host import EmailOverrides, Host
from mika_ops.host.lazy import Lazy, T
from mika_ops.host.port_check import describe, methods_of, mismatch
from mika_ops.ports.alerts import AlertSink
from mika_ops.ports.email import EmailSender


def from_function(port: Callable[..., T], function: Callable[..., Any]) -> T:
    """Return a component whose only method is ``function``: ``from_function(ReservationRelease, release)``.

    ``function`` takes what the method takes and returns what it returns. Raises ``InvalidHost`` if ``port`` has more
    than one method, or ``function`` is not callable.
    """
    methods = methods_of(cast("type", port))
    if len(methods) != 1:
        raise InvalidHost(f"{port.__name__} has the methods {', '.join(methods)}: supply an object that has them all")
    if not callable(function):
        raise InvalidHost(f"{type(function).__name__} is not a function that could be {port.__name__}.{methods[0]}")
    return cast("T", SimpleNamespace(**{methods[0]: function}))


def validate_host(host: Host) -> Host:
    """Return the host. Raises ``InvalidHost`` with a message for each component that does not fit its port."""
    wrong = [
        sentence
        for where, port, value in _supplied(host)
        if not isinstance(value, Lazy) and (sentence := mismatch(where, port, value))
    ]
    wrong += [
        f"EmailOverrides({name}) is {describe(part)}: supply a function"
        for name in ("retry_delay", "brand", "account_url")
        if (part := getattr(host.email, name)) is not None and not callable(part) and not isinstance(part, Brand)
    ]
    if host.email_outbox is not None and host.email != EmailOverrides():
        wrong.append("Host(email) changes nothing beside Host(email_outbox), which does all of it: supply one of them")
    if wrong:
        raise InvalidHost("\n".join(wrong))
    return host


def _supplied(host: Host) -> Iterator[tuple[str, type, object]]:
    """Yield what a host supplies: its field, the port that it must fit, and the value."""
    ports = {name: component.port for name, component in COMPONENTS.items()} | {"alert_sink": AlertSink}
    for name, port in ports.items():
        if getattr(host, name) is not None:
            yield f"Host({name})", port, getattr(host, name)
    if not isinstance(host.email, EmailOverrides):
        raise InvalidHost(f"Host(email) is {type(host.email).__name__}: supply mika_ops.EmailOverrides")
    if host.email.sender is not None:
        yield "EmailOverrides(sender)", EmailSender, host.email.sender
