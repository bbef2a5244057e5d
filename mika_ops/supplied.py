"""What a host supplies: objects, functions in the place of objects with one method, and pieces made by a run.

All of it is looked over when the definitions are built, so that a wrong piece is refused with a sentence that names the
method it lacks, before anything runs.
"""

import atexit
import inspect
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, Generic, TypeVar, cast, overload

from mika_ops.email.brand import Brand
from mika_ops.host import PIECES, EmailParts, Host
from mika_ops.ports import AlertSink, EmailSender
from mika_ops.privacy import error_sentence

T = TypeVar("T")


class WrongHost(TypeError):
    """A host supplies something that does not fit. The message names the piece and what it lacks."""


def from_function(port: Callable[..., T], function: Callable[..., Any]) -> T:
    """Return a piece whose only method is ``function``: ``from_function(ReservationRelease, release)``.

    ``function`` takes what the method takes and returns what it returns. Raises ``WrongHost`` where ``port`` has more
    than one method, or ``function`` is none.
    """
    methods = _methods(cast("type", port))
    if len(methods) != 1:
        raise WrongHost(f"{port.__name__} has the methods {', '.join(methods)}: supply an object that has them all")
    if not callable(function):
        raise WrongHost(f"{type(function).__name__} is no function that could be {port.__name__}.{methods[0]}")
    return cast("T", SimpleNamespace(**{methods[0]: function}))


@overload
def made_by(make: Callable[[], AbstractContextManager[T]]) -> T: ...


@overload
def made_by(make: Callable[[], T]) -> T: ...


def made_by(make: Callable[[], T | AbstractContextManager[T]]) -> T:
    """Have a piece made when the first run of a process needs the shop, and closed when the process ends.

    One that cannot be made fails the run before anything is changed.

    ``make`` returns the piece, or a context manager around it, such as ``contextlib.contextmanager`` makes; a piece
    that is itself one, or has a method ``close``, is closed too. The value returned here stands for the piece in
    ``Host`` and in ``EmailParts``, and nowhere else.
    """
    return cast("T", _Made(make))


class _Made(Generic[T]):
    """A piece that is made when it is first asked for."""

    def __init__(self, make: Callable[[], T | AbstractContextManager[T]]) -> None:
        if not callable(make):
            raise WrongHost(f"made_by takes a function that makes the piece, not {type(make).__name__}")
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


def require_fitting(host: Host) -> Host:
    """Return the host. Raises ``WrongHost`` with a sentence for each piece that does not fit its port."""
    wrong = [
        sentence
        for where, port, value in _supplied(host)
        if not isinstance(value, _Made) and (sentence := _misfit(where, port, value))
    ]
    wrong += [
        f"EmailParts({name}) is {_described(part)}: supply a function"
        for name in ("retry_delay", "brand", "account_url")
        if (part := getattr(host.email, name)) is not None and not callable(part) and not isinstance(part, Brand)
    ]
    if host.email_outbox is not None and host.email != EmailParts():
        wrong.append("Host(email) changes nothing beside Host(email_outbox), which does all of it: supply one of them")
    if wrong:
        raise WrongHost("\n".join(wrong))
    return host


def in_hand(where: str, port: type, value: T) -> T:
    """Return a supplied piece, made now where the host has it made. Raises ``WrongHost`` where that does not fit."""
    if not isinstance(value, _Made):
        return value
    try:
        piece: T = value.get()
    except Exception as failure:  # noqa: BLE001 - its text may hold a password, so only a sentence goes on
        raise WrongHost(f"{where} could not be made by {value.name}: {error_sentence(failure)}") from None
    sentence = _misfit(f"{where}, which {value.name} made,", port, piece)
    if sentence:
        raise WrongHost(sentence)
    return piece


def host_in_hand(host: Host) -> Host:
    """Return a host whose pieces, and sender of emails, can be used. Raises ``WrongHost`` as ``in_hand`` does."""
    pieces = {name: in_hand(f"Host({name})", piece.port, getattr(host, name)) for name, piece in PIECES.items()}
    sender = in_hand("EmailParts(sender)", EmailSender, host.email.sender)
    return replace(host, **pieces, email=replace(host.email, sender=sender))


def _supplied(host: Host) -> Iterator[tuple[str, type, object]]:
    """Yield what a host supplies: where, the port that it must fit, and the value."""
    ports = {name: piece.port for name, piece in PIECES.items()} | {"alert_sink": AlertSink}
    for name, port in ports.items():
        if getattr(host, name) is not None:
            yield f"Host({name})", port, getattr(host, name)
    if not isinstance(host.email, EmailParts):
        raise WrongHost(f"Host(email) is {type(host.email).__name__}: supply mika_ops.EmailParts")
    if host.email.sender is not None:
        yield "EmailParts(sender)", EmailSender, host.email.sender


def _misfit(where: str, port: type, value: object) -> str | None:
    """Say why a value does not fit a port, or ``None`` where it does."""
    if isinstance(value, type):
        return f"{where} is the class {value.__name__}: supply an object, or made_by({value.__name__})"
    missing = [name for name in _methods(port) if not callable(getattr(value, name, None))]
    if not missing:
        return None
    wanted = ", ".join(f"{name}{_parameters(port, name)}" for name in missing)
    hint = (
        f", or from_function({port.__name__}, …)"
        if callable(value) and len(_methods(port)) == 1
        else f": see mika_ops.ports.{port.__name__}"
    )
    plural = "s" if len(missing) > 1 else ""
    return f"{where} is {_described(value)} without the method{plural} {wanted}{hint}"


def _methods(port: type) -> list[str]:
    """Return the names of a port's methods, in the order in which they are written."""
    return [
        name
        for base in reversed(port.__mro__)
        for name, value in vars(base).items()
        if inspect.isfunction(value) and not name.startswith("_")
    ]


def _parameters(port: type, method: str) -> str:
    """Return a method's parameters by name alone: ``(selection, *, after, limit)``."""
    signature = inspect.signature(getattr(port, method))
    bare = [
        parameter.replace(annotation=inspect.Parameter.empty, default=inspect.Parameter.empty)
        for parameter in list(signature.parameters.values())[1:]
    ]
    return str(inspect.Signature(bare))


def _described(value: object) -> str:
    return f"a function ({value.__name__})" if inspect.isfunction(value) else f"a {type(value).__name__}"
