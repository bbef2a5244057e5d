"""Redirects of the admin API: which are followed, and where the token never goes."""

import ssl
from pathlib import Path

import pytest

from mika_ops_testing.admin_api_server import Site, done, redirects, running_site, says
from mika_ops_tests.admin_api.calls import PATH, TOKEN, refused, replay


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_another_host_is_refused_and_the_host_is_named(site: Site, status: int) -> None:
    with running_site() as other:
        elsewhere = f"http://user:{TOKEN}@localhost:{other.port}{PATH}?token={TOKEN}"
        site.will(redirects(status, elsewhere))

        said = refused(site.url)

        assert said.endswith(f"set MIKA_ADMIN_API_URL to the http address of localhost:{other.port}")
        assert other.calls == []
    assert len(site.calls) == 1


def test_a_redirect_to_another_port_is_one_to_another_site(site: Site) -> None:
    with running_site() as other:
        site.will(redirects(308, f"{other.url}{PATH}"))

        assert refused(site.url).endswith(f"the http address of 127.0.0.1:{other.port}")
        assert other.calls == []


@pytest.mark.parametrize("host", ["127.0.0.1", "www.shop.example"])
def test_a_redirect_to_https_is_refused_as_the_token_has_gone_in_the_clear(site: Site, host: str) -> None:
    site.will(redirects(301, f"https://{host}{PATH}"))

    assert refused(site.url).endswith(f"set MIKA_ADMIN_API_URL to the https address of {host}")


def test_a_redirect_from_https_to_http_is_refused(
    certificate: tuple[Path, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch, site: Site
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    with running_site(certificate[1]) as encrypted:
        encrypted.will(redirects(308, f"{site.url}{PATH}"))

        assert "to http, where others could read the token" in refused(encrypted.url)
    assert site.calls == []


@pytest.mark.parametrize("status", [307, 308])
@pytest.mark.parametrize(
    "location", ["{url}/moved?x=1", "/moved?x=1", "moved?x=1", "http://user:pw@127.0.0.1:{port}/moved?x=1"]
)
def test_a_redirect_that_keeps_the_body_is_followed_on_the_same_site(site: Site, status: int, location: str) -> None:
    site.will(redirects(status, location.format(url=site.url, port=site.port)), says(done()))

    replay(site.url)

    first, second = site.calls
    assert second.path.endswith("moved?x=1")
    assert second.raw == first.raw
    assert second.key == first.key == "run_1:webhook_1"
    assert second.headers["authorization"] == f"Bearer {TOKEN}"


@pytest.mark.parametrize("status", [301, 302, 303])
def test_a_redirect_that_loses_the_body_is_refused(site: Site, status: int) -> None:
    site.will(redirects(status, "/_emdash/login"))

    assert f"with {status}, which loses what is posted: check MIKA_ADMIN_API_URL" in refused(site.url)
    assert len(site.calls) == 1


def test_redirects_without_end_are_given_up(site: Site) -> None:
    site.will(redirects(308, "/round/and/round"))

    assert "redirects webhooks/replay again and again" in refused(site.url)
    assert len(site.calls) == 4


def test_a_redirect_to_what_is_no_address_is_reported(site: Site) -> None:
    site.will(redirects(308, "http://shop.example:port/"))

    assert "Invalid URL in location header" in refused(site.url)
