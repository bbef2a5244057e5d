"""What a host supplies: objects, functions in the place of objects with one method, and pieces made by a run.

All of it is looked over when the definitions are built, so that a wrong piece is refused with a sentence that names the
method it lacks, before anything runs.
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
    """Return a piece whose only method is ``function``: ``from_function(ReservationRelease, release)``.

    ``function`` takes what the method takes and returns what it returns. Raises ``InvalidHost`` where ``port`` has more
    than one method, or ``function`` is none.
    """
    methods = methods_of(cast("type", port))
    if len(methods) != 1:
        raise InvalidHost(f"{port.__name__} has the methods {', '.join(methods)}: supply an object that has them all")
    if not callable(function):
        raise InvalidHost(f"{type(function).__name__} is no function that could be {port.__name__}.{methods[0]}")
    return cast("T", SimpleNamespace(**{methods[0]: function}))


def validate_host(host: Host) -> Host:
    """Return the host. Raises ``InvalidHost`` with a sentence for each piece that does not fit its port."""
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
    """Yield what a host supplies: where, the port that it must fit, and the value."""
    ports = {name: piece.port for name, piece in COMPONENTS.items()} | {"alert_sink": AlertSink}
    for name, port in ports.items():
        if getattr(host, name) is not None:
            yield f"Host({name})", port, getattr(host, name)
    if not isinstance(host.email, EmailOverrides):
        raise InvalidHost(f"Host(email) is {type(host.email).__name__}: supply mika_ops.EmailOverrides")
    if host.email.sender is not None:
        yield "EmailOverrides(sender)", EmailSender, host.email.sender
