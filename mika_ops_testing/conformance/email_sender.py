"""The conformance suite of ``EmailSender``."""

from typing import Any

import pytest

from mika_ops.ports.email import AbandoningSender, EmailSender, Envelope, SenderThrottled, SenderUnavailable, SendResult
from mika_ops.redaction import redact
from mika_ops_testing.conformance.expectations import expect, expect_equal, expect_port, expect_type, optional, required
from mika_ops_testing.conformance.threads import at_once

LONGEST_MESSAGE_ID = 500

RECIPIENT = "ada.lind@shop.example"

EMAILS: dict[str, dict[str, Any]] = {
    "plain": {},
    "another alphabet": {"subject": "Für Zoë 李小龙 𝄞", "text": "Zoë\n.\n..two dots\n", "html": "<p>李小龙</p>"},
    "without an idempotency key": {"idempotency_key": None},
    "with metadata": {"metadata": {"order": {"id": "order_1"}, "tags": ["a"]}},
    "a long body": {"text": "line\n" * 5_000, "html": f"<p>{'x' * 50_000}</p>"},
}


def envelope(email_id: str = "email_1", **fields: Any) -> Envelope:
    """Return an email that is ready to send."""
    defaults = {
        "kind": "magic_link",
        "to": RECIPIENT,
        "subject": "Sign in",
        "text": "Open https://shop.example/in?token=secret\n",
        "html": "<p>Open</p>\n",
        "idempotency_key": f"key:{email_id}",
    }
    return Envelope(email_id=email_id, **{**defaults, **fields})


class EmailSenderConformance:
    """Holds an email sender against its port.

    A host defines the fixture ``sender``, whose provider accepts every email. The fixtures ``refused_sender``,
    ``throttled_sender`` and ``unreachable_sender`` are optional: the same sender where the provider refuses this email,
    asks for a lower rate, or cannot be reached.
    """

    @pytest.fixture
    def sender(self) -> Any:
        """Return a sender whose provider accepts every email."""
        required("sender", "an EmailSender whose provider accepts every email")

    @pytest.fixture
    def refused_sender(self) -> Any:
        """Return a sender whose provider refuses every email."""
        optional("refused_sender", "your sender, its provider refusing every email")

    @pytest.fixture
    def throttled_sender(self) -> Any:
        """Return a sender whose provider asks for a lower rate."""
        optional("throttled_sender", "your sender, its provider asking for a lower rate")

    @pytest.fixture
    def unreachable_sender(self) -> Any:
        """Return a sender whose provider cannot be reached."""
        optional("unreachable_sender", "your sender, its provider out of reach")

    def test_it_has_the_methods_of_the_port(self, sender: EmailSender) -> None:
        """The port: `send` exists."""
        expect_port(sender, EmailSender)

    @pytest.mark.parametrize("case", EMAILS)
    def test_an_accepted_email_returns_a_send_result(self, case: str, sender: EmailSender) -> None:
        """`send`: returns a `SendResult` once the provider has accepted the email."""
        result: Any = sender.send(envelope(**EMAILS[case]))
        expect_type(result, SendResult, "send must return mika_ops.ports.SendResult, also without a provider's id")
        id_ = result.provider_message_id
        expect(
            id_ is None or (isinstance(id_, str) and 0 < len(id_) <= LONGEST_MESSAGE_ID and id_.isprintable()),
            f"SendResult.provider_message_id must be None or a printable text of at most {LONGEST_MESSAGE_ID} "
            f"characters, else it is not recorded; got {id_!r}",
        )

    def test_an_email_that_is_repeated_is_accepted_again(self, sender: EmailSender) -> None:
        """`send`: an attempt may be repeated with the same `idempotency_key`, after a kill for one."""
        sender.send(envelope())
        try:
            result: Any = sender.send(envelope())
        except Exception as error:
            raise AssertionError(
                "accept an email that is repeated under its idempotency_key: it may have been sent before a kill; "
                f"send raised {type(error).__name__}"
            ) from error
        expect_type(result, SendResult, "send must return SendResult for an email that is repeated, too")

    def test_several_threads_send_at_once(self, sender: EmailSender) -> None:
        """`send`: called from as many threads at once as the outbox has `concurrency`."""
        count = 8
        results = dict[int, Any]()

        def work(number: int) -> None:
            results[number] = sender.send(envelope(f"email_{number}"))

        at_once(work, count)
        types = {type(result) for result in results.values()}
        expect_equal(types, {SendResult}, "send must return SendResult when several threads call it at once")

    def test_a_refused_email_raises(self, refused_sender: EmailSender) -> None:
        """`send`: raises if the provider did not accept the email; it is then retried later."""
        error = failure(refused_sender, "send must raise if the provider did not accept the email; it is then retried")
        expect(
            not isinstance(error, SenderUnavailable),
            "do not raise SenderUnavailable for one refused email: the attempt would not count, and a few in a row "
            "end the drain",
        )

    def test_an_error_holds_no_address_and_no_link(self, refused_sender: EmailSender) -> None:
        """The ports: no method may put an address, a link or a token into the message of an error."""
        sentence = str(failure(refused_sender, "send must raise if the provider did not accept the email"))
        private = [word for word in (RECIPIENT, RECIPIENT.partition("@")[0], "token=secret") if word in sentence]
        expect_equal(private, [], "keep the recipient, links and tokens out of the error: it is stored and shown")
        advice = "the error's message must be one line without addresses and links, at most 500 characters"
        expect_equal(sentence, redact(sentence), advice)

    def test_a_throttled_email_raises_sender_throttled(self, throttled_sender: EmailSender) -> None:
        """`send`: `SenderThrottled` makes the drain send more slowly, and the attempt counts."""
        error = failure(throttled_sender, "send must raise SenderThrottled if the provider asks for a lower rate")
        expect_type(error, SenderThrottled, "raise mika_ops.ports.SenderThrottled, so that the drain slows down")

    def test_a_provider_out_of_reach_raises_sender_unavailable(self, unreachable_sender: EmailSender) -> None:
        """`send`: with `SenderUnavailable` the attempt does not count, and several in a row end the drain."""
        error = failure(unreachable_sender, "send must raise SenderUnavailable if the provider cannot be reached")
        advice = "raise mika_ops.ports.SenderUnavailable if the provider cannot be reached or refuses the login"
        expect_type(error, SenderUnavailable, advice)

    def test_an_abandoned_sender_raises_at_once(self, sender: EmailSender) -> None:
        """`AbandoningSender.abandon`: each later `send` raises."""
        if not isinstance(sender, AbandoningSender):
            pytest.skip("to include this test, give your sender the optional method abandon()")
        sender.abandon()
        failure(sender, "after abandon(), send must raise at once: the run has to end")


def failure(sender: EmailSender, advice: str) -> Exception:
    """Return what ``send`` raises; fail with ``advice`` if it raises nothing."""
    __tracebackhide__ = True
    try:
        result: Any = sender.send(envelope())
    except Exception as error:  # noqa: BLE001 - returned to the test, which judges it
        return error
    raise AssertionError(f"{advice}\n  returned: {result!r}")
