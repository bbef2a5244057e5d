"""What a subtask is, and the one function that runs every subtask."""

import logging
import time
import traceback
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, TypeVar

from mika_ops.clock import Clock
from mika_ops.deadline import OutOfTime, never_out_of_time
from mika_ops.documents.selection import Selection
from mika_ops.documents.sharding import Shard
from mika_ops.host.components import COMPONENTS, configured_in
from mika_ops.host.host import Host
from mika_ops.ports.admin_api import idempotency_key
from mika_ops.redaction import describe_error
from mika_ops.rules.acp_session import DEFAULT_PURGE_AFTER_HOURS
from mika_ops.rules.webhook import DEFAULT_RETENTION_DAYS
from mika_ops.setting_names import PLAIN_NAMES, SettingNames
from mika_ops.subtasks.outcome import Completed, Failed, Outcome, Skipped, SubtaskFailed, SubtaskResult
from mika_ops.timestamps import Timestamp

logger: Final = logging.getLogger(__name__)

P = TypeVar("P")

Need: TypeAlias = tuple[str, ...]
"""Components of ``Host`` of which a subtask needs one: it uses the first that is configured."""

AccountDeleteScope: TypeAlias = Literal["complete", "reference"]


@dataclass(frozen=True)
class RunOptions:
    """What bounds one subtask in one run.

    ``limit``: at most so many documents or rows, exactly as upstream; ``None`` drains until nothing is due or
    ``out_of_time`` returns true. ``shard``: the part of the work to do, if several workers share it. ``run_id``: the id
    of the run, if there is one.
    """

    limit: int | None = None
    out_of_time: OutOfTime = never_out_of_time
    shard: Shard | None = None
    run_id: str | None = None
    raw_payload_retention_days: float = DEFAULT_RETENTION_DAYS
    acp_session_purge_after_hours: float = DEFAULT_PURGE_AFTER_HOURS
    account_delete_scope: AccountDeleteScope = "complete"

    def idempotency_key(self, clock: Clock, *parts: str) -> str:
        """Return the key of one call of the admin API, which no other run has: ``parts`` tell this run's calls apart.

        A run without an id is known by the time of the call.
        """
        return idempotency_key("mika-ops", self.run_id or clock.stamp(), *parts)


@dataclass(frozen=True)
class Subtask:
    """One subtask of maintenance: everything that the rest of the package knows about it.

    ``name``: the name of the op, the metadata, the CLI argument and the configuration. ``done``: the counts of the
    result whose sum is the work done. ``optional``: components that it uses if they are configured.

    ``due`` returns the selection of due documents, if the subtask works on documents. A subtask on rows has none: the
    backlog reader counts rows by the name of the subtask. ``site_decides_without``: a component without which only the
    site knows what is due. ``secret_ids``: the keys of its rows are secrets and are never shown.
    ``permanently_failed``: the documents that need manual action, oldest first.

    ``limited``: whether a limit may be set for it. A ``shardable`` subtask does only the part that ``RunOptions.shard``
    names. ``fails_run``: whether its failure fails the run; any other failure is a warning.
    """

    name: str
    description: str
    needs: tuple[Need, ...]
    run: Callable[[Host, Clock, RunOptions], SubtaskResult]
    done: tuple[str, ...]
    optional: tuple[str, ...] = ()
    due: Callable[[Timestamp, RunOptions], Selection] | None = None
    site_decides_without: str | None = None
    secret_ids: bool = False
    permanently_failed: Selection | None = None
    limited: bool = True
    shardable: bool = False
    fails_run: bool = False

    @property
    def components(self) -> tuple[str, ...]:
        """The names of all components that the subtask can use, sorted."""
        return tuple(sorted({*self.optional, *(name for need in self.needs for name in need)}))


def outcome_of(
    subtask: Subtask,
    host: Host,
    clock: Clock,
    limits: RunOptions,
    *,
    names: SettingNames = PLAIN_NAMES,
    timer: Callable[[], float] = time.monotonic,
) -> Outcome:
    """Run one subtask and return its outcome. A failing subtask never raises; an interruption does."""
    reason = skip_reason(subtask, configured_in(host), names)
    if reason is not None:
        return Skipped(reason=reason)
    started = timer()

    def duration_ms() -> int:
        return round((timer() - started) * 1000)

    try:
        result = subtask.run(host, clock, limits)
    except SubtaskFailed as failure:
        return Failed(error=describe_error(failure), result=failure.result, duration_ms=duration_ms())
    except Exception as failure:  # noqa: BLE001 - one failing subtask must not keep the others from running
        # Only the frames are logged: the message of an exception may hold personal data.
        logger.debug("%s failed at:\n%s", subtask.name, "".join(traceback.format_tb(failure.__traceback__)))
        return Failed(error=describe_error(failure), duration_ms=duration_ms())
    return Completed(result=result, duration_ms=duration_ms())


def missing_components(subtask: Subtask, components: Collection[str]) -> tuple[Need, ...]:
    """Return the needs of the subtask that these components of ``Host`` do not meet; empty if it can run."""
    return tuple(need for need in subtask.needs if set(need).isdisjoint(components))


def skip_reason(subtask: Subtask, components: Collection[str], names: SettingNames = PLAIN_NAMES) -> str | None:
    """Return which components the subtask lacks and how to configure them, or ``None`` if it can run."""
    missing = missing_components(subtask, components)
    if not missing:
        return None
    lacking = " and ".join(" or ".join(need) for need in missing)
    remedies = dict.fromkeys(
        " or ".join(dict.fromkeys(COMPONENTS[name].remedy(names) for name in need)) for need in missing
    )
    return f"not configured: {lacking}; {', and '.join(remedies)}"


def required(value: P | None) -> P:
    """Return a component of the host that the ``needs`` of the subtask guarantee."""
    if value is None:
        raise TypeError("a subtask was run without a component that it needs: run it with outcome_of")
    return value
