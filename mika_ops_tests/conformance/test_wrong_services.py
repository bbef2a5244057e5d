"""A client, an alert sink or a reader that breaks a promise fails the test of that promise, with what to do."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest

from examples.own_host_documents import Documents
from mika_ops.documents.selection import Selection
from mika_ops.ports import Alert, AlertSink, Backlog, Due, ReleasedReservations, ReplayedWebhook
from mika_ops_testing.builders import LATER
from mika_ops_testing.conformance import AdminApiConformance, AlertSinkConformance, BacklogReaderConformance, ShopData
from mika_ops_tests.conformance.in_memory import Counter, Pager, PagerOutOfReach, Site, SiteOutOfReach
from mika_ops_tests.conformance.running import Wrong, failures, names_of_tests


class ForgetsKeys(Site):
    """Does each call again, whatever its key."""

    calls = 0

    def release_expired_reservations(self, *, now: str, idempotency_key: str) -> ReleasedReservations:
        self.calls += 1
        return ReleasedReservations(scanned=self.calls, released=self.calls)

    def replay_webhook(self, webhook_id: str, *, idempotency_key: str) -> ReplayedWebhook:
        self.calls += 1
        return ReplayedWebhook(ok=True) if self.calls == 1 else ReplayedWebhook(False, "it was replayed already")


class ReturnsNumbers(Site):
    def release_expired_reservations(self, *, now: str, idempotency_key: str) -> Any:
        return 0

    def replay_webhook(self, webhook_id: str, *, idempotency_key: str) -> Any:
        return True


class SaysOkToAll(Site):
    def replayed(self, webhook_id: str) -> ReplayedWebhook:
        return ReplayedWebhook(ok=True)


class GivesNoReason(Site):
    def replayed(self, webhook_id: str) -> ReplayedWebhook:
        return ReplayedWebhook(ok=False)


class RepeatsTheToken(Site):
    def replayed(self, webhook_id: str) -> ReplayedWebhook:
        return ReplayedWebhook(False, "refused: Bearer secret")


class ShowsTheAddress(SiteOutOfReach):
    def release_expired_reservations(self, *, now: str, idempotency_key: str) -> ReleasedReservations:
        raise ConnectionError("https://shop.example/in?token=secret cannot be reached")


def wrong_api(test: str, words: str, make: Callable[[], object], fixture: str = "admin_api") -> Wrong:
    return Wrong(AdminApiConformance, test, words, {fixture: make})


REFUSED = "test_a_replay_that_the_site_refuses_is_not_ok_and_has_a_reason"

APIS = [
    wrong_api("test_it_has_the_methods_of_the_port", "without the methods release_expired_reservations", object),
    wrong_api("test_a_release_returns_what_was_released", "returned: int", ReturnsNumbers),
    wrong_api("test_a_release_that_is_repeated_releases_nothing_twice", "or release nothing", ForgetsKeys),
    wrong_api("test_a_replay_that_the_site_accepts_is_ok", "returned: bool", ReturnsNumbers),
    wrong_api("test_a_replay_that_the_site_accepts_is_ok", "if the site replayed the webhook", GivesNoReason),
    wrong_api("test_a_replay_that_is_repeated_is_ok_again", "as the first was", ForgetsKeys),
    wrong_api(REFUSED, "if the site refuses a replay", SaysOkToAll),
    wrong_api(REFUSED, "say why", GivesNoReason),
    wrong_api(REFUSED, "without addresses, links and tokens", RepeatsTheToken),
    wrong_api("test_a_site_out_of_reach_raises", "must raise if the site", SaysOkToAll, "unreachable_admin_api"),
    wrong_api("test_a_site_out_of_reach_raises", "without addresses, links", ShowsTheAddress, "unreachable_admin_api"),
]


class Delivery(AlertSinkConformance):
    def delivered(self, alert_sink: AlertSink) -> Sequence[str]:
        texts: Sequence[str] = getattr(alert_sink, "texts", [])
        return texts


class DropsTests(Pager):
    def send(self, alert: Alert) -> None:
        if alert.kind != "test":
            super().send(alert)


class SendsTheTitleAlone(Pager):
    def send(self, alert: Alert) -> None:
        self.texts.append(alert.title)


class NeedsARun(Pager):
    def send(self, alert: Alert) -> None:
        self.texts.append(f"{alert.sentence} {str(alert.url).split('/runs/')[1]}")


@dataclass
class SendsAnIncidentOnce(Pager):
    last: str = "none"

    def send(self, alert: Alert) -> None:
        if alert.incident != self.last:
            super().send(alert)
        self.last = alert.incident


class HidesFailures(PagerOutOfReach):
    def send(self, alert: Alert) -> None:
        """Do nothing."""


def wrong_sink(test: str, words: str, make: Callable[[], object], fixture: str = "alert_sink") -> Wrong:
    return Wrong(Delivery, test, words, {fixture: make})


SINKS = [
    wrong_sink("test_it_has_the_methods_of_the_port", "without the method send(alert)", object),
    wrong_sink("test_an_alert_of_every_kind_is_delivered", "deliver an alert of kind test", DropsTests),
    wrong_sink("test_an_alert_of_every_kind_is_delivered", "with its whole sentence", SendsTheTitleAlone),
    wrong_sink("test_an_alert_without_its_optional_parts_is_delivered", "IndexError", NeedsARun),
    wrong_sink("test_an_alert_that_is_sent_again_is_delivered_again", "deliver every alert", SendsAnIncidentOnce),
    wrong_sink(
        "test_an_alert_that_cannot_be_delivered_raises", "it is lost otherwise", HidesFailures, "unreachable_alert_sink"
    ),
]


class Answering(Counter):
    """Changes the answer of a right reader by ``changed``."""

    def read(self, selections: Mapping[str, Selection], *, now: str) -> Any:
        return self.changed(super().read(selections, now=now))

    def changed(self, backlog: Backlog) -> Any:
        raise NotImplementedError


class ReturnsAMapping(Answering):
    def changed(self, backlog: Backlog) -> Any:
        return backlog.due


class CountsMalformedAsDue(Answering):
    def changed(self, backlog: Backlog) -> Any:
        return Backlog({name: Due(due.count + due.malformed) for name, due in backlog.due.items()})


class LeavesOutSelections(Answering):
    def changed(self, backlog: Backlog) -> Any:
        return Backlog({name: due for name, due in backlog.due.items() if "_" in name})


class CountsAllRows(Counter):
    def read(self, selections: Mapping[str, Selection], *, now: str) -> Backlog:
        return super().read(selections, now=LATER)


class KnowsTheFuture(Answering):
    def changed(self, backlog: Backlog) -> Any:
        return Backlog({name: replace(due, oldest=LATER) for name, due in backlog.due.items()})


class FindsSomethingAlways(Answering):
    def changed(self, backlog: Backlog) -> Any:
        return Backlog({**backlog.due, "stock_reservations": Due(1)})


class PurgesWhileCounting(Answering):
    def changed(self, backlog: Backlog) -> Any:
        self.shop = replace(self.shop, ephemeral=())
        return backlog


class NamesMalformed(Counter):
    def first_documents(self, selection: Selection, *, limit: int) -> Sequence[str]:
        found = Documents(*self.shop.ops).candidates(selection, after=None, limit=limit)
        return [candidate.id for candidate in found]


class NamesAllDocuments(Counter):
    def first_documents(self, selection: Selection, *, limit: int) -> Sequence[str]:
        return super().first_documents(selection, limit=1_000)


class NamesSecrets(Counter):
    def ids(self, subtask: str, now: str) -> Sequence[str]:
        return super().ids(subtask, now) or [row.key for row in self.shop.ephemeral]


class NamesAllRows(Counter):
    def ids(self, subtask: str, now: str) -> Sequence[str]:
        return super().ids(subtask, LATER)


def wrong_reader(test: str, words: str, reader: Callable[[ShopData], object]) -> Wrong:
    return Wrong(BacklogReaderConformance, test, words, {"make_backlog": lambda: reader})


READERS = [
    wrong_reader("test_it_has_the_methods_of_the_port", "without the method read", lambda _shop: object()),
    wrong_reader("test_an_empty_shop_has_no_backlog", "must return mika_ops.ports.Backlog", ReturnsAMapping),
    wrong_reader("test_an_empty_shop_has_no_backlog", "has nothing due", FindsSomethingAlways),
    wrong_reader("test_the_documents_of_a_selection_are_counted", "MalformedDocument apart", CountsMalformedAsDue),
    wrong_reader("test_the_documents_of_a_selection_are_counted", "answer for every key", LeavesOutSelections),
    wrong_reader("test_rows_that_are_due_are_counted_or_left_out", "that are due at `now`", CountsAllRows),
    wrong_reader("test_the_oldest_is_a_time_or_unknown", "that is reached at `now`", KnowsTheFuture),
    wrong_reader("test_the_first_documents_are_named_in_order", "selection.takes accepts", NamesMalformed),
    wrong_reader("test_the_first_documents_are_named_in_order", "at most `limit`", NamesAllDocuments),
    wrong_reader("test_the_first_rows_are_named", "the keys are secrets", NamesSecrets),
    wrong_reader("test_the_first_rows_are_named", "name the rows that are due", NamesAllRows),
    wrong_reader("test_reading_changes_nothing", "must not change it", PurgesWhileCounting),
]


@pytest.mark.parametrize("wrong", [*APIS, *SINKS, *READERS], ids=str)
def test_a_wrong_component_fails_the_test_of_its_promise(wrong: Wrong) -> None:
    wrong.check()


def test_right_components_pass() -> None:
    assert failures(AdminApiConformance, {"admin_api": Site, "unreachable_admin_api": SiteOutOfReach}) == {}
    assert failures(Delivery, {"alert_sink": Pager, "unreachable_alert_sink": PagerOutOfReach}) == {}
    assert failures(BacklogReaderConformance, {"make_backlog": lambda: Counter}) == {}


def test_every_test_of_the_suites_fails_for_some_wrong_component() -> None:
    assert {wrong.test for wrong in APIS} == set(names_of_tests(AdminApiConformance))
    assert {wrong.test for wrong in SINKS} == set(names_of_tests(AlertSinkConformance))
    assert {wrong.test for wrong in READERS} == set(names_of_tests(BacklogReaderConformance))
