"""A sender or an outbox that breaks a promise fails the test of that promise, with what to do."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from examples.own_host_documents import Documents
from mika_ops.clock import Clock
from mika_ops.deadline import OutOfTime, never_out_of_time
from mika_ops.documents.document import Document
from mika_ops.documents.sharding import Shard
from mika_ops.email.content.renderer import Brand, EmailRenderer
from mika_ops.email.outbox.outbox import LeasedOutbox
from mika_ops.ports import DrainedOutbox, EmailOutbox, EmailUnrenderable, Envelope, SendResult
from mika_ops.timestamps import to_datetime
from mika_ops_testing.builders import LATER
from mika_ops_testing.conformance import EmailComposerConformance, EmailOutboxConformance, EmailSenderConformance
from mika_ops_testing.conformance.email_sender import RECIPIENT
from mika_ops_tests.conformance.in_memory import REFUSED, THROTTLED, UNREACHABLE, Mail
from mika_ops_tests.conformance.running import Wrong, failures, names_of_tests


class ReturnsText(Mail):
    def send(self, envelope: Envelope) -> Any:
        return "250 OK"


class ReturnsNothing(Mail):
    def send(self, envelope: Envelope) -> Any:
        super().send(envelope)


class ReturnsALongId(Mail):
    def send(self, envelope: Envelope) -> SendResult:
        return SendResult("x" * 501)


class RefusesRepeats(Mail):
    seen = ""

    def send(self, envelope: Envelope) -> SendResult:
        if envelope.email_id == self.seen:
            raise ValueError("a duplicate")
        self.seen = envelope.email_id
        return super().send(envelope)


class SendsOneAtATime(Mail):
    busy = False

    def send(self, envelope: Envelope) -> SendResult:
        if self.busy:
            raise RuntimeError("another email is being sent")
        self.busy = True
        time.sleep(0.01)
        self.busy = False
        return super().send(envelope)


class GoesOnAfterAbandon(Mail):
    def abandon(self) -> None:
        """Do nothing."""


def wrong_sender(test: str, words: str, make: Callable[[], object], fixture: str = "sender") -> Wrong:
    return Wrong(EmailSenderConformance, test, words, {fixture: make})


def wrong_failure(test: str, words: str, error: Exception | None, fixture: str) -> Wrong:
    return wrong_sender(test, words, lambda: Mail(error), fixture)


SENDERS = [
    wrong_sender("test_it_has_the_methods_of_the_port", "without the method send(envelope)", object),
    wrong_sender("test_an_accepted_email_returns_a_send_result", "returned: str", ReturnsText),
    wrong_sender("test_an_accepted_email_returns_a_send_result", "returned: NoneType", ReturnsNothing),
    wrong_sender("test_an_accepted_email_returns_a_send_result", "printable text of at most 500", ReturnsALongId),
    wrong_sender("test_an_email_that_is_repeated_is_accepted_again", "accept an email that is", RefusesRepeats),
    wrong_sender("test_several_threads_send_at_once", "another email is being sent", SendsOneAtATime),
    wrong_sender("test_several_threads_send_at_once", "SendResult when several threads", ReturnsText),
    wrong_failure("test_a_refused_email_raises", "send must raise if the provider did not", None, "refused_sender"),
    wrong_failure("test_a_refused_email_raises", "do not raise SenderUnavailable", UNREACHABLE, "refused_sender"),
    wrong_failure(
        "test_an_error_holds_no_address_and_no_link",
        "keep the recipient",
        ValueError(f"550 <{RECIPIENT}>"),
        "refused_sender",
    ),
    wrong_failure(
        "test_an_error_holds_no_address_and_no_link", "must be one line", ValueError("see\nbelow"), "refused_sender"
    ),
    wrong_failure("test_a_throttled_email_raises_sender_throttled", "SenderThrottled", REFUSED, "throttled_sender"),
    wrong_failure(
        "test_a_provider_out_of_reach_raises_sender_unavailable",
        "raise mika_ops.ports.SenderUnavailable",
        ConnectionError("refused"),
        "unreachable_sender",
    ),
    wrong_sender("test_an_abandoned_sender_raises_at_once", "after abandon(), send must raise", GoesOnAfterAbandon),
]


class Outbox:
    """Mika-ops' outbox on documents in memory."""

    def __init__(self, *emails: Document) -> None:
        self.emails = emails
        self.outbox = self.fresh()

    def fresh(self) -> LeasedOutbox:
        return LeasedOutbox(Documents(*self.emails), Documents(), Mail(), EmailRenderer(Brand()))

    def drain(self, clock: Clock, *, limit: int | None, out_of_time: OutOfTime) -> DrainedOutbox:
        return self.outbox.drain(clock, limit=limit, out_of_time=out_of_time)

    def for_shard(self, shard: Shard) -> EmailOutbox:
        return self.outbox.for_shard(shard)


class Forgets(Outbox):
    def drain(self, clock: Clock, *, limit: int | None, out_of_time: OutOfTime) -> DrainedOutbox:
        return self.fresh().drain(clock, limit=limit, out_of_time=out_of_time)


class SendsTooEarly(Outbox):
    def drain(self, clock: Clock, *, limit: int | None, out_of_time: OutOfTime) -> DrainedOutbox:
        return super().drain(Clock.fixed(to_datetime(LATER)), limit=limit, out_of_time=out_of_time)


class IgnoresTheLimit(Outbox):
    def drain(self, clock: Clock, *, limit: int | None, out_of_time: OutOfTime) -> DrainedOutbox:
        return super().drain(clock, limit=None, out_of_time=out_of_time)


class IgnoresTheTime(Outbox):
    def drain(self, clock: Clock, *, limit: int | None, out_of_time: OutOfTime) -> DrainedOutbox:
        return super().drain(clock, limit=limit, out_of_time=never_out_of_time)


class HidesMalformed(Outbox):
    def drain(self, clock: Clock, *, limit: int | None, out_of_time: OutOfTime) -> DrainedOutbox:
        return replace(super().drain(clock, limit=limit, out_of_time=out_of_time), malformed=0, malformed_ids=())


class ShardsSendAll(Outbox):
    def for_shard(self, shard: Shard) -> EmailOutbox:
        return Outbox(*self.emails)


class ReturnsACount(Outbox):
    def drain(self, clock: Clock, *, limit: int | None, out_of_time: OutOfTime) -> Any:
        return super().drain(clock, limit=limit, out_of_time=out_of_time).sent


class Composer(EmailRenderer):
    """A right composer, whose envelopes are passed to ``changed``."""

    def __init__(self, brand: Brand | None = None) -> None:
        super().__init__(brand or Brand())

    def render(self, document: Document, order: Document | None) -> Any:
        return self.changed(super().render(document, order), document)

    def changed(self, envelope: Envelope, document: Document) -> Any:
        return envelope


class NamesNoOrder(Composer):
    def order_id_of(self, document: Document) -> str | None:
        return None


class RendersADict(Composer):
    def changed(self, envelope: Envelope, document: Document) -> Any:
        return vars(envelope)


class LosesTheKey(Composer):
    def changed(self, envelope: Envelope, document: Document) -> Any:
        return replace(envelope, idempotency_key=None)


class WritesLongSubjects(Composer):
    def changed(self, envelope: Envelope, document: Document) -> Any:
        return replace(envelope, subject="Sign in\nto our shop")


class LosesTheLink(Composer):
    def changed(self, envelope: Envelope, document: Document) -> Any:
        return replace(envelope, text="Hello")


class MarksTheDocument(Composer):
    def changed(self, envelope: Envelope, document: Document) -> Any:
        document["rendered"] = True
        return envelope


class CountsItsEmails(Composer):
    count = 0

    def changed(self, envelope: Envelope, document: Document) -> Any:
        self.count += 1
        return replace(envelope, text=f"{envelope.text}{self.count}")


class Raises(Composer):
    """Raises ``error`` where a right composer raises anything."""

    def render(self, document: Document, order: Document | None) -> Any:
        try:
            return super().render(document, order)
        except EmailUnrenderable:
            raise self.error(document) from None

    def error(self, document: Document) -> Exception:
        raise NotImplementedError


class RaisesSomethingElse(Raises):
    def error(self, document: Document) -> Exception:
        return KeyError("toEmail")


class RepeatsTheAddress(Raises):
    def error(self, document: Document) -> Exception:
        record = document["record"]
        return EmailUnrenderable(f"{record['toEmail'] if isinstance(record, dict) else record} is not an address")


class RendersAnything(Composer):
    def render(self, document: Document, order: Document | None) -> Any:
        return Envelope("email_1", "magic_link", "", "Hello", "Hello", "Hello")


def wrong_outbox(test: str, words: str, outbox: object) -> Wrong:
    return Wrong(EmailOutboxConformance, test, words, {"make_outbox": lambda: outbox})


OUTBOXES = [
    wrong_outbox("test_it_has_the_methods_of_the_port", "without the method drain", object),
    wrong_outbox("test_every_email_that_is_due_is_sent_once", "record an email as sent", Forgets),
    wrong_outbox("test_every_email_that_is_due_is_sent_once", "must return mika_ops.ports", ReturnsACount),
    wrong_outbox("test_an_email_that_is_not_due_is_not_sent", "send only what", SendsTooEarly),
    wrong_outbox("test_a_limit_is_obeyed", "send at most `limit` emails", IgnoresTheLimit),
    wrong_outbox("test_a_drain_without_time_sends_nothing", "ask out_of_time()", IgnoresTheTime),
    wrong_outbox("test_the_shards_of_an_outbox_send_every_email_once", "must send every email", ShardsSendAll),
    wrong_outbox("test_a_malformed_email_is_named_and_does_not_stop_the_others", "count and name", HidesMalformed),
]


def wrong_composer(test: str, words: str, make: Callable[[], object]) -> Wrong:
    return Wrong(EmailComposerConformance, test, words, {"composer": make})


UNRENDERABLE = "test_a_document_that_cannot_be_rendered_says_so"

COMPOSERS = [
    wrong_composer("test_it_has_the_methods_of_the_port", "without the methods order_id_of", object),
    wrong_composer("test_an_email_that_is_about_an_order_names_it", "return the order's id", NamesNoOrder),
    wrong_composer("test_a_document_is_rendered_as_an_envelope", "returned: dict", RendersADict),
    wrong_composer("test_a_document_is_rendered_as_an_envelope", "take email_id, kind, to", LosesTheKey),
    wrong_composer("test_a_document_is_rendered_as_an_envelope", "must be one line", WritesLongSubjects),
    wrong_composer("test_a_document_is_rendered_as_an_envelope", "must hold the link", LosesTheLink),
    wrong_composer("test_an_order_confirmation_is_rendered_with_its_order", "list what was ordered", LosesTheLink),
    wrong_composer(UNRENDERABLE, "raise EmailUnrenderable if", RaisesSomethingElse),
    wrong_composer(UNRENDERABLE, "or EmailSkipped, if", RendersAnything),
    wrong_composer(UNRENDERABLE, "keep addresses, names and links out", RepeatsTheAddress),
    wrong_composer("test_rendering_changes_nothing", "do not change the document", MarksTheDocument),
    wrong_composer("test_rendering_changes_nothing", "the same way each time", CountsItsEmails),
]


@pytest.mark.parametrize("wrong", [*SENDERS, *OUTBOXES, *COMPOSERS], ids=str)
def test_a_wrong_component_fails_the_test_of_its_promise(wrong: Wrong) -> None:
    wrong.check()


def test_right_components_pass() -> None:
    senders = {
        "sender": Mail,
        "refused_sender": lambda: Mail(REFUSED),
        "throttled_sender": lambda: Mail(THROTTLED),
        "unreachable_sender": lambda: Mail(UNREACHABLE),
    }
    assert failures(EmailSenderConformance, senders) == {}
    assert failures(EmailOutboxConformance, {"make_outbox": lambda: Outbox}) == {}
    assert failures(EmailComposerConformance, {"composer": lambda: Composer(Brand())}) == {}


def test_every_test_of_the_suites_fails_for_some_wrong_component() -> None:
    assert {wrong.test for wrong in SENDERS} == set(names_of_tests(EmailSenderConformance))
    assert {wrong.test for wrong in OUTBOXES} == set(names_of_tests(EmailOutboxConformance))
    assert {wrong.test for wrong in COMPOSERS} == set(names_of_tests(EmailComposerConformance))
