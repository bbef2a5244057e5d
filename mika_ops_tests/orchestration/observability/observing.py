"""Hosts to observe, and what their runs recorded."""

from datetime import UTC, datetime
from typing import Any

import dagster as dg

from mika_ops.host.host import Host
from mika_ops.ports.backlog import Backlog, Due
from mika_ops_tests.orchestration.fake_host import Backlogs, whole_host

LONG_AGO = "2020-01-01T00:00:00.000Z"
LATE = Backlog({"email_outbox": Due(3, LONG_AGO)})
IN_ORDER = Backlog({"email_outbox": Due(0)})


def seen(instance: dg.DagsterInstance, name: str) -> list[dict[str, Any]]:
    """Return what was observed of an asset, oldest first."""
    records = instance.fetch_observations(dg.AssetKey(["mika", name]), limit=100, ascending=True).records
    return [
        {key: value.value for key, value in record.asset_observation.metadata.items()}
        for record in records
        if record.asset_observation is not None
    ]


def checked(instance: dg.DagsterInstance, run_id: str) -> dict[str, bool]:
    """Return what a run logged of the checks."""
    records = instance.get_records_for_run(run_id, of_type={dg.DagsterEventType.ASSET_CHECK_EVALUATION}).records
    events = [record.event_log_entry.get_dagster_event().asset_check_evaluation_data for record in records]
    return {event.check_name: event.passed for event in events}


def started(instance: dg.DagsterInstance, run_id: str) -> datetime:
    record = instance.get_run_record_by_id(run_id)
    assert record is not None
    assert record.start_time is not None
    return datetime.fromtimestamp(record.start_time, UTC)


def host(backlog: Backlog = IN_ORDER, **components: Any) -> Host:
    return whole_host(backlog=Backlogs(backlog), ephemeral_purge=None, ephemeral=None, **components)
