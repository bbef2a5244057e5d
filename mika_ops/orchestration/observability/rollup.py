"""The roll-up: the metrics of all subtasks for each hour and each day.

The first run after the end of an hour rolls it up, from the observations of the runs of that hour. An hour or a day is
recorded without a run, so that it remains when the runs are deleted from the history.
"""

from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

import dagster as dg

from mika_ops.monitoring.metrics import Metrics, aggregate_metrics
from mika_ops.orchestration.dagster_internals import count_runs
from mika_ops.orchestration.observability.assets import DAILY, HOURLY, SHOP, asset_key, numeric_metadata
from mika_ops.subtasks.registry import SUBTASK_NAMES
from mika_ops.timestamps import to_datetime, to_timestamp

HOUR: Final = timedelta(hours=1)
DAY: Final = timedelta(days=1)

LOOKBACK: Final = timedelta(days=2)
"""How far back hours are still rolled up; hours before that stay unrecorded."""

_OBSERVATIONS_READ: Final = 5_000
_SINCE: Final = "since"


def roll_up(instance: dg.DagsterInstance, job: str, shop: str | None, *, now: datetime) -> None:
    """Record the hours, and then the days, that have ended at ``now`` and are not recorded yet."""
    hours = _unrecorded(instance, asset_key(HOURLY, shop), HOUR, now)
    if hours is None:
        return
    for since, metrics in _by_hour(instance, shop, *hours).items():
        runs = _runs(instance, job, since)
        _record(instance, asset_key(HOURLY, shop), since, aggregate_metrics([*metrics, runs]))
    days = _unrecorded(instance, asset_key(DAILY, shop), DAY, now)
    if days is None:
        return
    for since, metrics in _by_day(instance, shop, *days).items():
        _record(instance, asset_key(DAILY, shop), since, aggregate_metrics(metrics))


def _unrecorded(
    instance: dg.DagsterInstance, key: dg.AssetKey, length: timedelta, now: datetime
) -> tuple[datetime, datetime] | None:
    """Return the range that is not recorded yet, in whole hours or days; ``None`` if there is none."""
    until = _start(now, length)
    since = until - max(LOOKBACK, length)
    newest = instance.fetch_observations(key, limit=1).records
    if newest and (recorded := _since(newest[0].asset_observation)) is not None:
        since = max(since, recorded + length)
    return (since, until) if since < until else None


def _by_hour(
    instance: dg.DagsterInstance, shop: str | None, since: datetime, until: datetime
) -> dict[datetime, list[Metrics]]:
    hours: defaultdict[datetime, list[Metrics]] = defaultdict(list)
    for name in SUBTASK_NAMES:
        for at, observation in _observed(instance, asset_key(name, shop), since, until):
            named = {f"{name}.{metric}": value for metric, value in numeric_metadata(observation).items()}
            hours[_start(at, HOUR)].append(named)
    return dict(sorted(hours.items()))


def _by_day(
    instance: dg.DagsterInstance, shop: str | None, since: datetime, until: datetime
) -> dict[datetime, list[Metrics]]:
    days: defaultdict[datetime, list[Metrics]] = defaultdict(list)
    # The last hour of a day is recorded after it has ended.
    for _at, observation in _observed(instance, asset_key(HOURLY, shop), since, until + DAY):
        hour = _since(observation)
        if hour is not None and since <= hour < until:
            days[_start(hour, DAY)].append(numeric_metadata(observation))
    return dict(sorted(days.items()))


def _observed(
    instance: dg.DagsterInstance, key: dg.AssetKey, since: datetime, until: datetime
) -> Iterator[tuple[datetime, dg.AssetObservation]]:
    wanted = dg.AssetRecordsFilter(key, after_timestamp=since.timestamp(), before_timestamp=until.timestamp())
    for record in instance.fetch_observations(wanted, limit=_OBSERVATIONS_READ).records:
        if record.asset_observation is not None:
            yield datetime.fromtimestamp(record.timestamp, UTC), record.asset_observation


def _runs(instance: dg.DagsterInstance, job: str, since: datetime) -> Metrics:
    """Count the runs that started in an hour, and how many of them failed."""

    def count(*statuses: dg.DagsterRunStatus) -> int:
        # Dagster compares with UTC and ignores the time zone.
        return count_runs(
            instance, dg.RunsFilter(job_name=job, statuses=statuses, created_after=since, created_before=since + HOUR)
        )

    return {f"{SHOP}.runs": count(), f"{SHOP}.failed_runs": count(dg.DagsterRunStatus.FAILURE)}


def _record(instance: dg.DagsterInstance, key: dg.AssetKey, since: datetime, metrics: Metrics) -> None:
    metadata: dict[str, str | float] = {_SINCE: to_timestamp(since), **metrics}
    instance.report_runless_asset_event(dg.AssetObservation(key, metadata=metadata))


def _since(observation: dg.AssetObservation | None) -> datetime | None:
    since = None if observation is None else observation.metadata.get(_SINCE)
    try:
        return None if since is None else to_datetime(str(since.value))
    except ValueError:
        return None


def _start(moment: datetime, length: timedelta) -> datetime:
    seconds = length.total_seconds()
    return datetime.fromtimestamp(moment.timestamp() // seconds * seconds, UTC)
