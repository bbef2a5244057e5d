"""Components that are created lazily: once for each process, by the first run that needs them."""

import atexit
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, closing
from dataclasses import replace
from typing import Any, Generic, TypeVar, cast, overload

from mika_ops.host.components import COMPONENTS
from mika_ops.host.errors import InvalidHost
from mika_ops.host.host import Host
from mika_ops.host.port_check import mismatch
from mika_ops.ports.email import EmailSender
from mika_ops.redaction import describe_error

T = TypeVar("T")


@overload
def lazily(make: Callable[[], AbstractContextManager[T]]) -> T: ...


@overload
def lazily(make: Callable[[], T]) -> T: ...


def lazily(make: Callable[[], T | AbstractContextManager[T]]) -> T:
    """Create a component lazily: when the first run of a process needs it. It is closed when the process ends.

    If the component cannot be created, the run fails before it changes anything.

    ``make`` returns the component, or a context manager around it, such as one of ``contextlib.contextmanager``. A
    component that is a context manager itself, or has a method ``close``, is closed too. Use the returned value as a
    field of ``Host`` or ``EmailOverrides``, and nowhere else.
    """
    return cast("T", Lazy(make))


class Lazy(Generic[T]):
    """A component that is created lazily, at its first use."""

    def __init__(self, make: Callable[[], T | AbstractContextManager[T]]) -> None:
        if not callable(make):
            raise InvalidHost(f"lazily takes a function that creates the component, not {type(make).__name__}")
        self._make = make
        self._lock = threading.Lock()
        self._created: list[T] = []

    @property
    def name(self) -> str:
        return getattr(self._make, "__name__", type(self._make).__name__)

    def get(self) -> T:
        """Return the component; create it if it does not exist yet."""
        with self._lock:
            if not self._created:
                closer = ExitStack()
                made: Any = self._make()
                if isinstance(made, AbstractContextManager):
                    made = closer.enter_context(made)
                elif callable(getattr(made, "close", None)):
                    closer.enter_context(closing(made))
                atexit.register(closer.close)
                self._created.append(made)
            return self._created[0]


def resolve_component(where: str, port: type, value: T) -> T:
    """Return a supplied component; create it if it is lazy. Raises ``InvalidHost`` if it does not fit its port."""
    if not isinstance(value, Lazy):
        return value
    try:
        component: T = value.get()
    except Exception as failure:  # noqa: BLE001 - its text may hold a password: only a description is passed on
        raise InvalidHost(f"{where} could not be created by {value.name}: {describe_error(failure)}") from None
    sentence = mismatch(f"{where}, which {value.name} created,", port, component)
    if sentence:
        raise InvalidHost(sentence)
    return component


def resolve_host(host: Host) -> Host:
    """Return a host whose components and email sender can be used.

    Raises ``InvalidHost`` as ``resolve_component`` does.
    """
    components = {
        name: resolve_component(f"Host({name})", component.port, getattr(host, name))
        for name, component in COMPONENTS.items()
    }
    sender = resolve_component("EmailOverrides(sender)", EmailSender, host.email.sender)
    return replace(host, **components, email=replace(host.email, sender=sender))
