"""Assembles everything that Dagster loads."""

import dagster as dg

from mika_ops.assembly import require_database_for_email
from mika_ops.config.loading import load_settings, require_shop_name
from mika_ops.config.settings import Settings
from mika_ops.config.shop import Shop
from mika_ops.host.host import Host
from mika_ops.host.validation import validate_host
from mika_ops.orchestration.alerts.sensors import alert_sensor, history_alert_sensor
from mika_ops.orchestration.execution.executors import executor_for
from mika_ops.orchestration.maintenance.job import maintenance_job
from mika_ops.orchestration.maintenance.resources import resources_for
from mika_ops.orchestration.maintenance.schedule import maintenance_schedule
from mika_ops.orchestration.observability.assets import shop_assets
from mika_ops.orchestration.observability.checks import health_checks
from mika_ops.orchestration.retention.job import history_job, history_schedule


def build_definitions(
    *, host: Host | None = None, settings: Settings | None = None, name: str | None = None
) -> dg.Definitions:
    """Return the job with its resources, schedule, alerts and assets, for one shop.

    ``settings`` are read from the environment if they are not given. A component of ``host`` overrides one that the
    settings configure. With ``maintenance_enabled`` off there is no schedule. ``name`` distinguishes several shops in
    one code location (``dagster.Definitions.merge``): ``eu`` has the job ``mika_maintenance_eu``, variables that start
    with ``MIKA_EU_``, and its own resources. Connects to nothing. Raises ``SettingsError`` if the environment is
    invalid, and ``InvalidHost`` if a component does not fit its port.
    """
    if name is not None:
        require_shop_name(name)
    supplied = Host() if host is None else validate_host(host)
    shop = Shop(load_settings(shop=name) if settings is None else settings, name, supplied)
    require_database_for_email(shop)
    executor = executor_for(shop)
    resources = resources_for(shop)
    # Several shops cannot share the resource names of a code location, so each job then has its own resources.
    own = None if name is None else resources
    job = maintenance_job(shop_name=name, resources=own, shards=shop.settings.shards, executor=executor)
    history = history_job(shop, jobs=[job.name])
    schedules = [maintenance_schedule(shop, job), history_schedule(shop, history)]
    return dg.Definitions(
        assets=shop_assets(shop),
        asset_checks=health_checks(shop),
        jobs=[job, history],
        schedules=schedules if shop.settings.maintenance_enabled else [],
        sensors=[alert_sensor(shop, job), history_alert_sensor(shop, history)],
        resources=resources if name is None else {},
    )
