"""What a host supplies is validated before anything runs, and created at its first use."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar, cast

import dagster as dg
import pytest

from mika_ops import EmailOverrides, Host, build_definitions, from_function, lazily
from mika_ops.config.loading import isolated_settings
from mika_ops.documents.repository import DocumentRepository
from mika_ops.email.content.brand import Brand
from mika_ops.host.errors import InvalidHost
from mika_ops.host.lazy import resolve_component
from mika_ops.host.validation import validate_host
from mika_ops.ports.acp_sessions import AcpSessionCleanup, CleanedSessions
from mika_ops.ports.email import Envelope, SendResult
from mika_ops.ports.ephemeral import EphemeralPurge
from mika_ops.ports.stock import ReleasedReservations, ReservationRelease
from mika_ops.store.database import Database
from mika_ops.store.documents import Documents
from mika_ops_testing.builders import email, put
from mika_ops_tests.orchestration.fake_host import Outbox, run_job, whole_host


class Purge:
    """Purges seven rows each time, and records whether it was closed."""

    made: ClassVar[list["Purge"]] = []

    def __init__(self) -> None:
        self.closed = False
        Purge.made.append(self)

    def purge_expired(self, *, due: str, out_of_time: object) -> int:
        return 7

    def close(self) -> None:
        self.closed = True


@pytest.fixture(autouse=True)
def none_made() -> Iterator[None]:
    Purge.made.clear()
    yield
    Purge.made.clear()


def wrong(**components: object) -> str:
    """Return the message with which a host with these components is rejected."""
    with pytest.raises(InvalidHost) as refused:
        build_definitions(host=Host(**cast("Any", components)), settings=isolated_settings())
    return str(refused.value)


def test_a_component_that_lacks_a_method_is_refused_by_its_name_when_the_definitions_are_built() -> None:
    class Half:
        def candidates(self, selection: object, *, after: object, limit: int) -> list[object]:
            return []

        read = None

    assert wrong(ops=Half()) == (
        "Host(ops) is a Half without the methods read(ids), change(ids, rule, *, wait, seen): "
        "see mika_ops.ports.DocumentRepository"
    )


def test_every_wrong_component_is_reported() -> None:
    message = wrong(stock=object(), admin_api="https://shop.example", alert_sink=print)
    assert [line.partition(" is ")[0] for line in message.splitlines()] == [
        "Host(stock)",
        "Host(admin_api)",
        "Host(alert_sink)",
    ]


def test_a_class_in_the_place_of_an_object_is_refused_with_what_to_write() -> None:
    assert wrong(ephemeral_purge=Purge) == (
        "Host(ephemeral_purge) is the class Purge: supply an object, or lazily(Purge)"
    )


def test_a_bare_function_is_refused_with_what_to_write() -> None:
    def release() -> None: ...

    assert wrong(reservation_release=release) == (
        "Host(reservation_release) is a function (release) without the method "
        "release_expired(*, due, now, out_of_time), or from_function(ReservationRelease, …)"
    )


def test_a_wrong_sender_is_refused_too() -> None:
    assert wrong(email=EmailOverrides(sender=cast("Any", object()))) == (
        "EmailOverrides(sender) is a object without the method send(envelope): see mika_ops.ports.EmailSender"
    )


def test_a_host_that_fits_is_taken_as_it_is() -> None:
    host = whole_host()
    assert validate_host(host) is host


def test_functions_stand_for_components_with_one_method() -> None:
    asked: list[dict[str, object]] = []

    def release(*, due: str, now: str, out_of_time: object) -> ReleasedReservations:
        asked.append({"due": due, "now": now})
        return ReleasedReservations(scanned=3, released=2, stock_items=1)

    host = Host(
        reservation_release=from_function(ReservationRelease, release),
        acp_sessions=from_function(AcpSessionCleanup, lambda _clock, **_limits: CleanedSessions(scanned=1, purged=1)),
        ephemeral_purge=from_function(EphemeralPurge, lambda **_limits: 4),
    )
    outcomes = run_job(host).metadata
    assert outcomes["stock_reservations"]["reservations_released"] == 2
    assert outcomes["acp_sessions"]["purged"] == 1
    assert outcomes["ephemeral_records"]["purged"] == 4
    assert len(asked) == 1


def test_a_function_cannot_stand_for_several_methods() -> None:
    with pytest.raises(InvalidHost, match="DocumentRepository has the methods candidates, read, change"):
        from_function(DocumentRepository, lambda: None)
    with pytest.raises(InvalidHost, match="int is not a function"):
        from_function(EphemeralPurge, cast("Any", 5))


def test_a_component_is_made_when_a_run_needs_it_and_once_in_a_process() -> None:
    host = Host(ephemeral_purge=lazily(Purge))
    build_definitions(host=host, settings=isolated_settings())
    assert Purge.made == []
    assert [run_job(host).metadata["ephemeral_records"]["purged"] for _ in range(2)] == [7, 7]
    assert len(Purge.made) == 1
    assert not Purge.made[0].closed


def test_a_component_that_was_made_and_lacks_a_method_fails_the_run_before_anything_is_changed() -> None:
    def my_stock() -> object:
        return object()

    host = Host(reservation_release=cast("Any", lazily(my_stock)))
    with pytest.raises(InvalidHost, match=r"^Host\(reservation_release\), which my_stock created, is a object without"):
        resolve_component("Host(reservation_release)", ReservationRelease, host.reservation_release)
    assert not run_job(host).success


def test_a_component_that_cannot_be_made_is_reported_without_what_is_secret() -> None:
    def my_stock() -> Purge:
        raise RuntimeError("connect failed: postgresql://shop:hunter2@db/x for bob@example.test")

    host = Host(ephemeral_purge=lazily(my_stock))
    with dg.DagsterInstance.ephemeral() as instance:
        run = run_job(host, instance=instance)
        recorded = "".join(str(entry) for entry in instance.all_logs(run.id))
    assert not run.success
    assert "Nothing was changed: Host(ephemeral_purge) could not be created by my_stock: connect failed" in recorded
    assert "hunter2" not in recorded
    assert "bob@" not in recorded


def test_parts_of_emails_that_are_no_functions_are_refused() -> None:
    parts = EmailOverrides(brand=cast("Any", "Shop"), retry_delay=cast("Any", 5))
    assert wrong(email=parts).splitlines() == [
        "EmailOverrides(retry_delay) is a int: supply a function",
        "EmailOverrides(brand) is a str: supply a function",
    ]
    assert validate_host(Host(email=EmailOverrides(brand=Brand("Shop")))).email.brand == Brand("Shop")


def test_parts_of_emails_beside_an_outbox_of_ones_own_would_do_nothing_and_are_refused() -> None:
    message = wrong(email_outbox=Outbox(), email=EmailOverrides(retry_delay=lambda _attempt: timedelta(0)))
    assert message.startswith("Host(email) changes nothing beside Host(email_outbox)")


def test_a_sender_counts_even_where_python_calls_it_false(database: Database, tmp_path: Path) -> None:
    class Kept(list[Envelope]):
        def send(self, envelope: Envelope) -> SendResult:
            self.append(envelope)
            return SendResult()

    put(database, "ops", email("email_1"))
    sender = Kept()
    host = Host(
        ops=Documents(database, "ops"), ledger=Documents(database, "ledger"), email=EmailOverrides(sender=sender)
    )
    run_job(host, settings=isolated_settings(email_directory=tmp_path / "emails"))
    assert [envelope.email_id for envelope in sender] == ["email_1"]


def test_making_takes_a_function() -> None:
    with pytest.raises(InvalidHost, match="lazily takes a function that creates the component, not Purge"):
        lazily(cast("Any", Purge()))


@pytest.mark.parametrize("how", ["close", "context manager"])
def test_a_component_is_closed_when_the_process_ends(how: str, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    code = f"""
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from mika_ops import lazily
from mika_ops.email.content.brand import Brand
from mika_ops.ports import EphemeralPurge
from mika_ops.host.lazy import resolve_component

class Purge:
    def purge_expired(self, *, due, out_of_time): return 0

class Closing(Purge):
    def close(self): Path({str(closed)!r}).write_text("closed")

@contextmanager
def opened():
    yield Purge()
    Path({str(closed)!r}).write_text("closed")

component = lazily(Closing if {how!r} == "close" else opened)
assert resolve_component("here", EphemeralPurge, component).purge_expired(due="", out_of_time=None) == 0
assert not Path({str(closed)!r}).exists()
"""
    subprocess.run([sys.executable, "-c", code], check=True)  # noqa: S603
    assert closed.read_text() == "closed"


def test_a_sender_may_be_made_too() -> None:
    @contextmanager
    def sender() -> Iterator[object]:
        yield object()

    host = Host(email=EmailOverrides(sender=cast("Any", lazily(sender))))
    assert validate_host(host) is host
