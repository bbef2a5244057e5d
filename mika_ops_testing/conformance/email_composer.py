"""The conformance suite of ``EmailComposer``."""

from copy import deepcopy
from typing import Any

import pytest

from mika_ops.documents.document import Document
from mika_ops.ports.email import EmailComposer, EmailSkipped, EmailUnrenderable, Envelope
from mika_ops.redaction import redact
from mika_ops_testing.builders import email, order
from mika_ops_testing.conformance.expectations import expect, expect_equal, expect_port, expect_type, required

LINK = "https://shop.example/in?token=secret"
RECIPIENT = "ada.lind@shop.example"

SIGN_IN = email(toEmail=RECIPIENT, metadata={"link": LINK}, idempotencyKey="key:email_1")
CONFIRMATION = email(kind="order_confirmation", toEmail=RECIPIENT, orderId="order_1", metadata={})

UNRENDERABLE = {
    "its record is no object": email(toEmail=RECIPIENT, top={"record": "torn"}),
    "its address is missing": email(toEmail=None),
    "its address is no address": email(toEmail="ada.lind"),
    "its address has a line break": email(toEmail=f"{RECIPIENT}\r\nBcc: eve@shop.example"),
    "its link runs a script": email(toEmail=RECIPIENT, metadata={"link": "javascript:alert('ada.lind')"}),
    "its order is missing": CONFIRMATION,
}
"""Documents that no composer can make an email of, rendered without an order."""


class EmailComposerConformance:
    """Holds a composer, for a ``LeasedOutbox`` of the host's own, against its port.

    A host defines the fixture ``composer``, which renders the kinds ``magic_link`` and ``order_confirmation``.
    """

    @pytest.fixture
    def composer(self) -> Any:
        """Return the composer."""
        required("composer", "an EmailComposer that renders the kinds magic_link and order_confirmation")

    def test_it_has_the_methods_of_the_port(self, composer: EmailComposer) -> None:
        """The port: `order_id_of` and `render` exist."""
        expect_port(composer, EmailComposer)

    def test_an_email_that_is_about_an_order_names_it(self, composer: EmailComposer) -> None:
        """`order_id_of`: the id of the order that the email is about, or `None`."""
        found = composer.order_id_of(SIGN_IN), composer.order_id_of(CONFIRMATION)
        expect_equal(found, (None, "order_1"), "return the order's id for an email about an order, else None")

    def test_a_document_is_rendered_as_an_envelope(self, composer: EmailComposer) -> None:
        """`render`: returns an `Envelope` with the id, kind, recipient and key of the document."""
        envelope = rendered(composer, SIGN_IN)
        found = envelope.email_id, envelope.kind, envelope.to, envelope.idempotency_key
        expected = "email_1", "magic_link", RECIPIENT, "key:email_1"
        expect_equal(found, expected, "take email_id, kind, to and idempotency_key from the document and its record")
        expect(bool(envelope.subject) and "\n" not in envelope.subject, "the subject must be one line, and not empty")
        expect(LINK in envelope.text, "the text must hold the link of a magic_link")

    def test_an_order_confirmation_is_rendered_with_its_order(self, composer: EmailComposer) -> None:
        """`render`: `order` is the one that `order_id_of` names."""
        envelope = rendered(composer, CONFIRMATION, order())
        expect("Walnut bowl" in envelope.text, "an order confirmation must list what was ordered")

    @pytest.mark.parametrize("case", UNRENDERABLE)
    def test_a_document_that_cannot_be_rendered_says_so(self, case: str, composer: EmailComposer) -> None:
        """`render`: raises `EmailUnrenderable`, or `EmailSkipped`; the message holds nothing private."""
        try:
            composer.render(UNRENDERABLE[case], None)
        except (EmailUnrenderable, EmailSkipped) as error:
            sentence = str(error)
        except Exception as error:
            raise AssertionError(f"raise EmailUnrenderable if {case}; it raised {type(error).__name__}") from error
        else:
            raise AssertionError(f"raise EmailUnrenderable, or EmailSkipped, if {case}")
        private = [word for word in ("ada.lind", "eve@", "script") if word in sentence]
        expect_equal(private, [], "keep addresses, names and links out of the message: it is stored and shown")
        expect_equal(sentence, redact(sentence), "the message must be one line of at most 500 characters")

    def test_rendering_changes_nothing(self, composer: EmailComposer) -> None:
        """`render`: a repeated attempt renders the same document again."""
        document, sold = deepcopy(CONFIRMATION), order()
        first = rendered(composer, document, sold)
        expect_equal((document, sold), (CONFIRMATION, order()), "do not change the document or the order in place")
        expect_equal(rendered(composer, document, sold), first, "render the same document the same way each time")


def rendered(composer: EmailComposer, document: Document, about: Document | None = None) -> Envelope:
    """Render a document, and check the type of the result."""
    __tracebackhide__ = True
    envelope: Any = composer.render(document, about)
    expect_type(envelope, Envelope, "render must return mika_ops.ports.Envelope")
    assert isinstance(envelope, Envelope)
    return envelope
