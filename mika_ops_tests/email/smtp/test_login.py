"""Login and encryption, held against a real mail server."""

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mika_ops.email.smtp.errors import MailServerUnavailable
from mika_ops.email.smtp.sender import SmtpSender
from mika_ops_testing.smtp_server import Mailroom, accepting, mail_server, self_signed
from mika_ops_tests.email.builders import envelope
from mika_ops_tests.email.smtp.sending import sender


class TestLogin:
    def test_user_and_password_are_percent_decoded(self) -> None:
        with mail_server(**accepting("shop@shop.test", "p@ss/word")) as mailroom:
            with sender(mailroom.port, login="shop%40shop.test:p%40ss%2Fword@") as smtp:
                smtp.send(envelope())
            assert len(mailroom.deliveries) == 1

    def test_user_and_password_may_come_apart_from_the_url(self) -> None:
        with (
            mail_server(**accepting("shop@shop.test", "p@ss/word")) as mailroom,
            sender(mailroom.port, username="shop@shop.test", password="p@ss/word") as smtp,
        ):
            smtp.send(envelope())
            assert len(mailroom.deliveries) == 1

    def test_a_refused_login_is_reported_without_user_and_password(self) -> None:
        with (
            mail_server(**accepting("shopkeeper", "right")) as mailroom,
            sender(mailroom.port, login="shopkeeper:s3cret@") as smtp,
            pytest.raises(MailServerUnavailable) as raised,
        ):
            smtp.send(envelope())
        assert str(raised.value).startswith("the mail server answered 535 to AUTH: ")
        assert str(raised.value).endswith("in MIKA_SMTP_URL or in MIKA_SMTP_USERNAME and MIKA_SMTP_PASSWORD")
        assert "s3cret" not in str(raised.value)
        assert "shopkeeper" not in str(raised.value)

    def test_a_server_without_logins_is_reported(self) -> None:
        with (
            mail_server() as mailroom,
            sender(mailroom.port, login="user:s3cret@") as smtp,
            pytest.raises(MailServerUnavailable, match=r"no login \(AUTH\) over smtp: use smtp\+starttls or smtps"),
        ):
            smtp.send(envelope())


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    return self_signed(tmp_path_factory.mktemp("tls"))


@pytest.fixture(params=["smtp+starttls", "smtps"])
def encrypted(request: pytest.FixtureRequest, tls: tuple[Path, ssl.SSLContext]) -> Iterator[tuple[str, Mailroom]]:
    """The scheme, and a server that speaks it with a certificate that nobody vouches for."""
    _, context = tls
    options: dict[str, Any] = {"smtp+starttls": {"tls_context": context}, "smtps": {"ssl_context": context}}
    with mail_server(**options[request.param]) as mailroom:
        yield request.param, mailroom


class TestEncryption:
    def test_a_certificate_that_nobody_vouches_for_is_refused(self, encrypted: tuple[str, Mailroom]) -> None:
        scheme, mailroom = encrypted
        with sender(mailroom.port, scheme=scheme) as smtp, pytest.raises(MailServerUnavailable) as raised:
            smtp.send(envelope())
        assert str(raised.value).startswith("the mail server's certificate was not accepted: self-signed certificate; ")
        assert "MIKA_SMTP_VERIFY_TLS=false" in str(raised.value)
        assert mailroom.deliveries == []

    def test_where_it_is_not_to_be_verified_any_certificate_will_do(self, encrypted: tuple[str, Mailroom]) -> None:
        scheme, mailroom = encrypted
        smtp = SmtpSender(f"{scheme}://localhost:{mailroom.port}", sender="shop@shop.test", verify_tls=False)
        with smtp:
            smtp.send(envelope())
        assert len(mailroom.deliveries) == 1

    def test_a_login_is_kept_until_the_connection_is_encrypted(self, tls: tuple[Path, ssl.SSLContext]) -> None:
        login = {**accepting("shop", "s3cret"), "auth_require_tls": True}
        with (
            mail_server(tls_context=tls[1], **login) as mailroom,
            sender(mailroom.port, scheme="smtp+starttls", login="shop:s3cret@", verify_tls=False) as smtp,
        ):
            smtp.send(envelope())
            assert len(mailroom.deliveries) == 1

    def test_a_certificate_that_is_trusted_is_used(
        self, encrypted: tuple[str, Mailroom], tls: tuple[Path, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        scheme, mailroom = encrypted
        monkeypatch.setenv("SSL_CERT_FILE", str(tls[0]))
        with sender(mailroom.port, scheme=scheme) as smtp:
            smtp.send(envelope(email_id="email_1"))
            smtp.send(envelope(email_id="email_2"))
        assert len(mailroom.deliveries) == 2

    def test_a_certificate_for_another_host_is_refused(
        self, encrypted: tuple[str, Mailroom], tls: tuple[Path, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        scheme, mailroom = encrypted
        monkeypatch.setenv("SSL_CERT_FILE", str(tls[0]))
        smtp = SmtpSender(f"{scheme}://localhost:{mailroom.port}", sender="shop@shop.test")
        with pytest.raises(MailServerUnavailable, match="certificate was not accepted: Hostname mismatch"):
            smtp.send(envelope())

    def test_a_server_without_starttls_gets_no_email(self) -> None:
        with (
            mail_server() as mailroom,
            sender(mailroom.port, scheme="smtp+starttls") as smtp,
            pytest.raises(MailServerUnavailable, match="does not offer STARTTLS, which MIKA_SMTP_URL asks for"),
        ):
            smtp.send(envelope())
        assert mailroom.deliveries == []
