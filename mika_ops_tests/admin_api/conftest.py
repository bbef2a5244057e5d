"""Fixtures of the admin API's tests: a site, and what its certificate is."""

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from mika_ops_testing.admin_api_server import Site, running_site
from mika_ops_testing.smtp_server import self_signed
from mika_ops_tests.admin_api.calls import Waits


@pytest.fixture
def site() -> Iterator[Site]:
    with running_site() as running:
        yield running


@pytest.fixture
def waits() -> Waits:
    """The seconds that the client waited between its attempts, without any of them passing."""
    return []


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    return self_signed(tmp_path_factory.mktemp("tls"))
