"""Fresh sites for tests: laid out once, then copied."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, Protocol

from sqlalchemy import create_engine, make_url

from mika_ops.demo.embedded_postgres import create_database, drop_database, embedded_postgres, keep_nothing
from mika_ops.store.schema.own import own
from mika_ops.store.schema.site import create_site

DatabaseKind = Literal["sqlite", "postgres"]


class Sites(Protocol):
    """Makes empty sites of one kind of database."""

    def new(self) -> str:
        """Return the URL of a new, empty site with the tables of EmDash, Mika and mika-ops."""
        ...

    def drop(self, url: str) -> None:
        """Delete a site, so that many sites do not fill the disk."""
        ...


@dataclass
class SqliteSites:
    directory: Path
    made: int = 0

    def new(self) -> str:
        template = self.directory / "template.db"
        if not template.exists():
            lay_out(f"sqlite:///{template}")
        self.made += 1
        path = self.directory / f"site-{self.made}.db"
        shutil.copyfile(template, path)
        return f"sqlite:///{path}"

    def drop(self, url: str) -> None:
        path = url.removeprefix("sqlite:///")
        for name in (path, f"{path}-wal", f"{path}-shm"):
            Path(name).unlink(missing_ok=True)


@dataclass
class PostgresSites:
    server_url: str
    made: int = 0

    def new(self) -> str:
        if not self.made:
            keep_nothing(self.server_url)
            lay_out(create_database(self.server_url, "template_site"))
        self.made += 1
        return create_database(self.server_url, f"site_{self.made}", template="template_site")

    def drop(self, url: str) -> None:
        drop_database(self.server_url, str(make_url(url).database))


@contextmanager
def sites(kind: DatabaseKind) -> Iterator[Sites]:
    with TemporaryDirectory(prefix="mika-ops-sites-") as directory:
        if kind == "sqlite":
            yield SqliteSites(Path(directory))
            return
        with embedded_postgres(Path(directory) / "postgres") as url:
            yield PostgresSites(url)


def lay_out(url: str) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        create_site(connection)
        own.create_all(connection)
    engine.dispose()
