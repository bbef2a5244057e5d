"""The site's database: opening it, asking whether it is one, and transactions that are short and retried."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Self, TypeVar

from sqlalchemy import Connection, Engine
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential_jitter

from mika_ops.clock import utc_now
from mika_ops.setting_names import PLAIN_NAMES, SettingNames
from mika_ops.store.errors import is_transient, translated
from mika_ops.store.json_sql import JsonSql
from mika_ops.timestamps import Timestamp, to_timestamp

T = TypeVar("T")


ATTEMPTS: Final = 5


@dataclass(frozen=True)
class Database:
    """One site's database, how it spells documents, and whether it has mika-ops' own tables."""

    engine: Engine
    plugin_id: str
    json_sql: JsonSql
    has_acp_sessions: bool
    names: SettingNames = PLAIN_NAMES
    sleep: Callable[[float], None] = time.sleep
    now: Callable[[], datetime] = utc_now
    writing: AbstractContextManager[object] = field(default_factory=threading.Lock, repr=False, compare=False)

    @property
    def dialect(self) -> str:
        """``sqlite`` or ``postgresql``."""
        return self.engine.dialect.name

    @contextmanager
    def reading(self, *, generic_plan: bool = False) -> Iterator[Connection]:
        """Open a connection for reading only; it holds no lock that keeps a writer waiting.

        ``generic_plan``: its statements are best run in the same way whatever values are bound, so that Postgres, once
        it knows them, need not plan them anew.
        """
        with translated(), self.engine.connect().execution_options(mika_keeps_plans=generic_plan) as connection:
            yield connection
            # To roll back has the driver forget all statements that it has prepared.
            connection.commit()

    def write(self, work: Callable[[Connection], T], *, generic_plan: bool = False) -> T:
        """Do work in one short transaction: all or nothing, retried a few times where another was in the way.

        ``generic_plan`` as for ``reading``. Raises ``DatabaseError`` where trying again does not help.
        """
        with translated():
            done: T = _retrying(is_transient, self.sleep)(self._write_once, work, generic_plan=generic_plan)
            return done

    def _write_once(self, work: Callable[[Connection], T], *, generic_plan: bool) -> T:
        # SQLite takes one writer at a time and has the others poll: this process's own threads wait in line instead.
        in_line = self.writing if self.dialect == "sqlite" else nullcontext()
        with (
            in_line,
            self.engine.connect().execution_options(mika_writes=True, mika_keeps_plans=generic_plan) as connection,
            connection.begin(),
        ):
            return work(connection)

    def row_time(self) -> Timestamp:
        """Return the real time, for the columns that say when a row was written."""
        return to_timestamp(self.now())

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _retrying(transient: Callable[[BaseException], bool], sleep: Callable[[float], None]) -> Retrying:
    """Return what calls a function again, a few times, where it fails with what may be over by then."""
    return Retrying(
        stop=stop_after_attempt(ATTEMPTS),
        wait=wait_exponential_jitter(multiplier=0.05, max=1.0, jitter=0.1),
        retry=retry_if_exception(transient),
        sleep=sleep,
        reraise=True,
    )
