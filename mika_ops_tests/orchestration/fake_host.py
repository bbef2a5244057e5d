"""A host whose components record how they are called, and runs of the job on it."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from mika_ops.clock import Clock
from mika_ops.config.loading import isolated_settings
from mika_ops.config.settings import Settings
from mika_ops.deadline import OutOfTime
from mika_ops.documents.document import Document
from mika_ops.documents.repository import Candidate, Changes, Rule
from mika_ops.documents.selection import Selection
from mika_ops.host.components import COMPONENTS
from mika_ops.host.host import Host
from mika_ops.orchestration.definitions import build_definitions
from mika_ops.orchestration.maintenance.job import JOB_NAME
from mika_ops.ports.acp_sessions import CleanedSessions
from mika_ops.ports.admin_api import ReplayedWebhook
from mika_ops.ports.backlog import Backlog
from mika_ops.ports.email import DrainedOutbox
from mika_ops.ports.stock import CustomerReservations, ReleasedReservations
from mika_ops.subtasks.registry import SUBTASK_NAMES


class Documents:
    """A collection without documents."""

    def candidates(self, selection: Selection, *, after: Candidate | None, limit: int) -> Sequence[Candidate]:
        return ()

    def read(self, ids: Sequence[str]) -> Mapping[str, Document]:
        return {}

    def change(self, ids: Sequence[str], rule: Rule[Any], **_options: object) -> Changes[Any]:
        return Changes()


@dataclass
class Outbox:
    """Drains nothing, and records the clock and the limit of each drain."""

    drains: list[tuple[str, int | None]] = field(default_factory=list)
    answer: DrainedOutbox = field(default_factory=DrainedOutbox)

    def drain(self, clock: Clock, *, limit: int | None, out_of_time: OutOfTime) -> DrainedOutbox:
        self.drains.append((clock.scheduled_at, limit))
        return self.answer


@dataclass
class Stock:
    """Reports the release that it is given."""

    released: ReleasedReservations = field(default_factory=ReleasedReservations)

    def release_expired(self, *, due: str, now: str, out_of_time: OutOfTime) -> ReleasedReservations:
        return self.released

    def release_customers(self, customer_ids: Sequence[str], *, now: str) -> Mapping[str, CustomerReservations]:
        return {}


class Ephemeral:
    """Finds three expired rows."""

    def purge_expired(self, *, due: str, out_of_time: OutOfTime) -> int:
        return 3

    def delete_tokens(self, subjects: Sequence[str]) -> Mapping[str, int]:
        return {}


class AcpSessions:
    """Has no session that needs work."""

    def clean_up(
        self, clock: Clock, *, limit: int | None, purge_after_hours: float, out_of_time: OutOfTime
    ) -> CleanedSessions:
        return CleanedSessions()


class AdminApi:
    """Accepts every call, and does nothing."""

    def release_expired_reservations(self, *, now: str, idempotency_key: str) -> ReleasedReservations:
        return ReleasedReservations()

    def replay_webhook(self, webhook_id: str, *, idempotency_key: str) -> ReplayedWebhook:
        return ReplayedWebhook(ok=True)


@dataclass
class Backlogs:
    """Reports the backlog that it is given."""

    backlog: Backlog = field(default_factory=Backlog)

    def read(self, selections: Mapping[str, Selection], *, now: str) -> Backlog:
        return self.backlog


@dataclass
class Broken:
    """A component of any kind, each of whose methods raises."""

    error: BaseException = field(default_factory=lambda: RuntimeError("the disk is on fire"))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)

        def method(*_args: object, **_options: object) -> None:
            raise self.error

        return method


def whole_host(**components: Any) -> Host:
    """Return a host with all components, some of which are given."""
    stock, ephemeral = Stock(), Ephemeral()
    whole: dict[str, Any] = {
        "email_outbox": Outbox(),
        "ops": Documents(),
        "account": Documents(),
        "ledger": Documents(),
        "session": Documents(),
        "stock": stock,
        "ephemeral": ephemeral,
        "acp_sessions": AcpSessions(),
        "reservation_release": stock,
        "ephemeral_purge": ephemeral,
        "admin_api": AdminApi(),
        "backlog": Backlogs(),
    }
    return Host(**{**whole, **components})


def host_with(*names: str) -> Host:
    """Return a host with only these components."""
    return whole_host(**{name: None for name in COMPONENTS if name not in names})


@dataclass(frozen=True)
class Run:
    """The result of one run of the job."""

    id: str
    success: bool
    metadata: Mapping[str, Mapping[str, Any]]
    """By op, in the order in which they ended."""
    log: Sequence[tuple[int, str]]
    """The level and the text of what was logged, events apart."""
    failure: dg.Failure | str | None
    """The message of the failed op, if one failed."""

    @property
    def statuses(self) -> dict[str, str]:
        return {name: shown["status"] for name, shown in self.metadata.items() if name in SUBTASK_NAMES}

    def logged(self, level: int) -> list[str]:
        return [text for at, text in self.log if at == level]


def run_job(
    host: Host | None = None,
    *,
    settings: Settings | None = None,
    config: Mapping[str, Any] | None = None,
    tags: Mapping[str, str] | None = None,
    instance: dg.DagsterInstance | None = None,
) -> Run:
    """Run the job once in this process, on an instance of its own where none is given."""
    if instance is None:
        with dg.DagsterInstance.ephemeral() as ephemeral:
            return run_job(host, settings=settings, config=config, tags=tags, instance=ephemeral)
    definitions = build_definitions(host=host, settings=settings or isolated_settings())
    result = definitions.resolve_job_def(JOB_NAME).execute_in_process(
        run_config=dict(config or {}), tags=dict(tags or {}), instance=instance, raise_on_error=False
    )
    outputs = [event for event in result.all_events if event.event_type == dg.DagsterEventType.STEP_OUTPUT]
    failed = [event for event in result.all_events if event.event_type == dg.DagsterEventType.STEP_FAILURE]
    failures = [event.step_failure_data.user_failure_data for event in failed]
    return Run(
        id=result.run_id,
        success=result.success,
        metadata={
            str(event.step_key): {key: value.value for key, value in event.step_output_data.metadata.items()}
            for event in outputs
        },
        log=[
            (int(entry.level), entry.user_message)
            for entry in instance.all_logs(result.run_id)
            if not entry.is_dagster_event and int(entry.level) >= logging.INFO
        ],
        failure=failures[0].description if failures and failures[0] is not None else None,
    )
