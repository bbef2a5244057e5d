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
    """Have a piece made when the first run of a process needs the shop, and closed when the process ends.

    One that cannot be made fails the run before anything is changed.

    ``make`` returns the piece, or a context manager around it, such as ``contextlib.contextmanager`` makes; a piece
    that is itself one, or has a method ``close``, is closed too. The value returned here stands for the piece in
    ``Host`` and in ``EmailOverrides``, and nowhere else.
    """
    return cast("T", Lazy(make))


class Lazy(Generic[T]):
    """A piece that is made when it is first asked for."""

    def __init__(self, make: Callable[[], T | AbstractContextManager[T]]) -> None:
        if not callable(make):
            raise InvalidHost(f"lazily takes a function that makes the piece, not {type(make).__name__}")
        self._make = make
        self._lock = threading.Lock()
        self._piece: list[T] = []

    @property
    def name(self) -> str:
        return getattr(self._make, "__name__", type(self._make).__name__)

    def get(self) -> T:
        """Return the piece; made now, where it was not yet."""
        with self._lock:
            if not self._piece:
                closer = ExitStack()
                made: Any = self._make()
                if isinstance(made, AbstractContextManager):
                    made = closer.enter_context(made)
                elif callable(getattr(made, "close", None)):
                    closer.enter_context(closing(made))
                atexit.register(closer.close)
                self._piece.append(made)
            return self._piece[0]


def resolve_component(where: str, port: type, value: T) -> T:
    """Return a supplied piece, made now where the host has it made. Raises ``InvalidHost`` where that does not fit."""
    if not isinstance(value, Lazy):
        return value
    try:
        piece: T = value.get()
    except Exception as failure:  # noqa: BLE001 - its text may hold a password, so only a sentence goes on
        raise InvalidHost(f"{where} could not be made by {value.name}: {describe_error(failure)}") from None
    sentence = mismatch(f"{where}, which {value.name} made,", port, piece)
    if sentence:
        raise InvalidHost(sentence)
    return piece


def resolve_host(host: Host) -> Host:
    """Return a host whose components and email sender can be used.

    Raises ``InvalidHost`` as ``resolve_component`` does.
    """
    pieces = {
        name: resolve_component(f"Host({name})", piece.port, getattr(host, name)) for name, piece in COMPONENTS.items()
    }
    sender = resolve_component("EmailOverrides(sender)", EmailSender, host.email.sender)
    return replace(host, **pieces, email=replace(host.email, sender=sender))
