"""A probe of the doctor, and the result of one."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Generic, Literal, TypeAlias, TypeVar

from mika_ops.assembly import DATABASE_COMPONENTS
from mika_ops.redaction import describe_error

S = TypeVar("S")

ProbeStatus: TypeAlias = Literal["ok", "warning", "broken", "not configured"]

OUTBOX: Final = frozenset({"email_outbox"})
ADMIN_API: Final = frozenset({"admin_api"})
NEEDS_DATABASE: Final = DATABASE_COMPONENTS | OUTBOX
"""The components of ``Host`` that do not work without the database."""


@dataclass(frozen=True)
class ProbeResult:
    """The result of one probe: a sentence, and the SQL statements that fix a problem, if there are any.

    ``disables``: the components of ``Host`` that do not work if the status is ``broken``, and that do not exist if it
    is ``not configured``.
    """

    name: str
    status: ProbeStatus
    sentence: str
    statements: tuple[str, ...] = ()
    disables: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Probe(Generic[S]):
    """A test of one configured thing. ``disables``: the components that do not work if the test raises."""

    name: str
    disables: frozenset[str]
    test: Callable[[S], Iterator[ProbeResult]]


def run_probe(probe: Probe[S], subject: S) -> Iterator[ProbeResult]:
    """Yield the results of a probe. An exception is a result, too: the tested thing is broken."""
    try:
        yield from probe.test(subject)
    except Exception as error:  # noqa: BLE001 - the other probes run all the same
        yield ProbeResult(probe.name, "broken", describe_error(error), disables=probe.disables)
