"""Settings and emails agree on what a link is: an address that settings accept is never left out of an email."""

import pytest

from mika_ops.config.validators import require_link
from mika_ops.email.content.brand import Brand, resolve_brand
from mika_ops.email.links import is_link

LINKS = [
    "https://shop.example",
    "http://shop.example:8080/account?from=email#top",
    "HTTPS://shop.example",
    "https://[2001:db8::1]/account",
    "https://sh\N{LATIN SMALL LETTER O WITH DIAERESIS}p.example",
]

OTHERS = [
    "https://sh\N{ZERO WIDTH SPACE}op.example",
    "https://shop.example\N{RIGHT-TO-LEFT OVERRIDE}/account",
    "https://shop.example/\x00",
    "https://shop.example:0",
    "https://shop.example:99999",
    "https://shop.example:port",
    "https://shop.example/my account",
    "https://shop.example/\taccount",
    "https://shop.example\N{NO-BREAK SPACE}",
    "https://[shop.example",
    "https://",
    "shop.example",
    "javascript:alert(1)",
    "",
]


@pytest.mark.parametrize("url", LINKS)
def test_a_link_is_accepted_by_the_settings_and_shown_in_emails(url: str) -> None:
    assert is_link(url)
    require_link(url)
    assert resolve_brand(Brand(account_url=url), {}).account_url == url


@pytest.mark.parametrize("url", OTHERS)
def test_another_text_is_refused_by_the_settings_and_not_shown_in_emails(url: str) -> None:
    assert not is_link(url)
    with pytest.raises(ValueError, match="is no link"):
        require_link(url)
    assert resolve_brand(Brand(account_url=url), {}).account_url is None
