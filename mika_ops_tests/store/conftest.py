"""One site of each kind for all tests of the store, emptied before each: far faster than a new one every time."""

from collections.abc import Iterator

import pytest
from sqlalchemy import create_engine, delete

from mika_ops.store.database import Database
from mika_ops.store.opening import open_database
from mika_ops.store.schema.own import own, own_version
from mika_ops.store.schema.site import plugin_indexes, site
from mika_ops_testing.sites import DatabaseKind, Sites


@pytest.fixture(scope="package")
def lasting_urls() -> dict[DatabaseKind, str]:
    """Return the URLs of the sites that are used again and again, as far as they have been made."""
    return {}


@pytest.fixture
def lasting_url(kind: DatabaseKind, lasting_urls: dict[DatabaseKind, str], request: pytest.FixtureRequest) -> str:
    """Return the URL of a site that is empty, though others have used it; its tables must be left as they are."""
    if kind not in lasting_urls:
        made: Sites = request.getfixturevalue(f"{kind}_sites")
        lasting_urls[kind] = made.new()
    engine = create_engine(lasting_urls[kind])
    with engine.begin() as connection:
        for table in {**site.tables, **own.tables}.values():
            if table not in (plugin_indexes, own_version):
                connection.execute(delete(table))
    engine.dispose()
    return lasting_urls[kind]


@pytest.fixture
def database(lasting_url: str) -> Iterator[Database]:
    """Open an empty site."""
    with open_database(lasting_url) as opened:
        yield opened
