"""The site's database: opening it, asking whether it is one, and transactions that are short and retried."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Self, TypeVar

from sqlalchemy import Connection, Engine
from tenacity import RetryCallState, Retrying, retry_if_exception, wait_exponential_jitter

from mika_ops.clock import utc_now
from mika_ops.setting_names import PLAIN_NAMES, SettingNames
from mika_ops.store.errors import is_transient, is_unreachable, translated
from mika_ops.store.json_sql import JsonSql
from mika_ops.timestamps import Timestamp, to_timestamp

T = TypeVar("T")


ATTEMPTS: Final = 5
"""How often a transaction is tried where another is in the way."""

PATIENCE_SECONDS: Final = 30.0
"""How long a transaction is tried while the database cannot be reached: a restart, or a failover, is over by then."""


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
    patience_seconds: float = PATIENCE_SECONDS
    writing: AbstractContextManager[object] = field(default_factory=threading.Lock, repr=False, compare=False)

    @property
    def dialect(self) -> str:
        """``sqlite`` or ``postgresql``."""
        return self.engine.dialect.name

    @contextmanager
    def reading(self, *, generic_plan: bool = False) -> Iterator[Connection]:
        """Open a connection for reading only; it holds no lock that keeps a writer waiting. Nothing is retried.

        ``generic_plan``: its statements are best run in the same way whatever values are bound, so that Postgres, once
        it knows them, need not plan them anew.
        """
        with translated(), self.engine.connect().execution_options(mika_generic_plan=generic_plan) as connection:
            yield connection
            # To roll back has the driver forget all statements that it has prepared.
            connection.commit()

    def read(self, work: Callable[[Connection], T], *, generic_plan: bool = False) -> T:
        """Read in one transaction, as in ``reading``, retried where another or a restart was in the way.

        Raises ``DatabaseError`` where a retry does not help.
        """

        def read_once() -> T:
            with self.engine.connect().execution_options(mika_generic_plan=generic_plan) as connection:
                found = work(connection)
                connection.commit()
            return found

        with translated():
            done: T = self._retrying()(read_once)
            return done

    def write(self, work: Callable[[Connection], T], *, generic_plan: bool = False) -> T:
        """Do work in one short transaction: all or nothing, retried where another or a restart was in the way.

        ``generic_plan`` as for ``reading``. Raises ``DatabaseError`` where a retry does not help.
        """
        with translated():
            done: T = self._retrying()(self._write_once, work, generic_plan=generic_plan)
            return done

    def _write_once(self, work: Callable[[Connection], T], *, generic_plan: bool) -> T:
        # SQLite takes one writer at a time and has the others poll: this process's own threads wait in line instead.
        in_line = self.writing if self.dialect == "sqlite" else nullcontext()
        with (
            in_line,
            self.engine.connect().execution_options(mika_writes=True, mika_generic_plan=generic_plan) as connection,
            connection.begin(),
        ):
            return work(connection)

    def _retrying(self) -> Retrying:
        return retrying(is_transient, sleep=self.sleep, patience_seconds=self.patience_seconds)

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


def retrying(
    transient: Callable[[BaseException], bool], *, sleep: Callable[[float], None], patience_seconds: float
) -> Retrying:
    """Return what retries a function that fails with what may be over by then.

    For ``patience_seconds`` where the database cannot be reached, and a few times otherwise.
    """
    conflicts = 0

    def stop(state: RetryCallState) -> bool:
        nonlocal conflicts
        failure = state.outcome.exception() if state.outcome else None
        if failure is not None and is_unreachable(failure):
            return max(state.seconds_since_start or 0.0, state.idle_for) >= patience_seconds
        conflicts += 1
        return conflicts >= ATTEMPTS

    return Retrying(
        stop=stop,
        wait=wait_exponential_jitter(multiplier=0.05, max=1.0, jitter=0.1),
        retry=retry_if_exception(transient),
        sleep=sleep,
        reraise=True,
    )
