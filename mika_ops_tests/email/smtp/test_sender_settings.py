"""Settings of the sender that cannot be used are refused by name, and no password shows."""

import pytest

from mika_ops.email.smtp.sender import SmtpSender
from mika_ops_tests.email.smtp.sending import sender


class TestSettings:
    @pytest.mark.parametrize(
        "url",
        [
            "",
            "mail.example.test",
            "http://user:s3cret@mail.example.test",
            "smtp://",
            "smtp://user:s3cret@",
            "smtp://user:s3cret@mail.example.test:port",
            "smtp://user:s3cret@mail.example.test:99999",
            "smtp://user:s3cret/more@mail.example.test",
            "smtp://user:s3cret#more@mail.example.test",
            "smtp://user:s3cret@mail.example.test/path",
            "smtp://user:s3cret@mail.example.test?tls=no",
            "smtp://user@mail.example.test",
            "smtp://:s3cret@mail.example.test",
            "smtp://user:s3cr%C3%A9t@mail.example.test",
            "smtp://user:s3cret@[mail.example.test",
            "smtp://user:s3cret@mail..example.test",
        ],
    )
    def test_a_wrong_url_is_refused_by_the_name_of_its_setting_without_the_password(self, url: str) -> None:
        with pytest.raises(ValueError, match="MIKA_SMTP_URL") as raised:
            SmtpSender(url, sender="shop@shop.test")
        assert "s3cr" not in str(raised.value)

    @pytest.mark.parametrize(
        ("login", "username", "password", "sentence"),
        [
            (
                "user:s3cret@",
                "user",
                "s3cret",
                "MIKA_SMTP_URL has a user and a password, and so have MIKA_SMTP_USERNAME",
            ),
            ("", "user", None, "MIKA_SMTP_USERNAME is set without MIKA_SMTP_PASSWORD"),
            ("", None, "s3cret", "MIKA_SMTP_PASSWORD is set without MIKA_SMTP_USERNAME"),
            ("user:s3cret@", None, "s3cret", "MIKA_SMTP_PASSWORD is set without MIKA_SMTP_USERNAME"),
            ("", "user", "s3crét", "MIKA_SMTP_USERNAME and MIKA_SMTP_PASSWORD have characters outside ASCII"),
        ],
    )
    def test_a_wrong_login_is_refused_by_the_names_of_its_settings(
        self, login: str, username: str | None, password: str | None, sentence: str
    ) -> None:
        with pytest.raises(ValueError, match=sentence) as raised:
            sender(25, login=login, username=username, password=password)
        assert "s3cr" not in str(raised.value)

    @pytest.mark.parametrize("name", ["reply_to", "bounce_address"])
    def test_a_wrong_address_is_refused_by_the_name_of_its_setting(self, name: str) -> None:
        with pytest.raises(ValueError, match=f"MIKA_EMAIL_{name.upper()} is not one mail address"):
            sender(25, **{name: "nobody"})

    @pytest.mark.parametrize("from_", ["", "Tea House", "a@b.test, c@d.test"])
    def test_a_wrong_sender_is_refused_by_the_name_of_its_setting(self, from_: str) -> None:
        with pytest.raises(ValueError, match="MIKA_EMAIL_FROM"):
            SmtpSender("smtp://mail.example.test", sender=from_)
