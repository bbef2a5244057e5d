"""The components of the host as Dagster resources, and the plan of the run.

A component that is not configured is a resource without a value, whose description says how to configure it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

import dagster as dg

from mika_ops.assembly import configured_components, open_host
from mika_ops.clock import Clock, utc_now
from mika_ops.config.settings import run_options_from
from mika_ops.config.shop import Shop
from mika_ops.config.validators import require_time
from mika_ops.documents.sharding import Shard
from mika_ops.host.components import COMPONENTS
from mika_ops.host.errors import InvalidHost
from mika_ops.host.host import Host
from mika_ops.orchestration.maintenance.launchpad import RUN_RESOURCE
from mika_ops.orchestration.runs import started_at
from mika_ops.orchestration.tags import SCHEDULED_AT_TAG
from mika_ops.store.errors import UnusableDatabase
from mika_ops.subtasks.registry import SUBTASK_NAMES
from mika_ops.subtasks.subtask import RunOptions
from mika_ops.subtasks.time_budget import TimeBudget

SHOP_RESOURCE: Final = "shop"


@dataclass(frozen=True)
class RunPlan:
    """What one run does: which subtasks it runs, at which time it evaluates what is due, and within which limits."""

    run_id: str | None
    clock: Clock
    selected: frozenset[str]
    limits: Mapping[str, int]
    budget: TimeBudget
    shop: Shop

    def limits_of(self, subtask: str, shard: Shard | None = None) -> RunOptions:
        """Return the limits of a subtask that the run chose, or of one shard of it."""
        limit = self.limits.get(subtask)
        return replace(
            run_options_from(self.shop.settings),
            limit=limit if shard is None else shard.share_of(limit),
            shard=shard,
            out_of_time=self.budget.out_of_time_for(subtask),
            run_id=self.run_id,
        )


def resources_for(shop: Shop) -> dict[str, dg.ResourceDefinition]:
    """Return a resource for each component, for the shop that holds them, and for the plan of the run.

    A component that the shop supplies overrides the one that its settings configure.
    """
    configured = configured_components(shop)
    components = {
        name: _component_of_shop(name, component.purpose)
        if name in configured
        else dg.ResourceDefinition.none_resource(
            description=f"{component.purpose} Not configured: {component.remedy(shop.names)}."
        )
        for name, component in COMPONENTS.items()
    }
    return {SHOP_RESOURCE: _opened_shop(shop), RUN_RESOURCE: _run_plan(shop), **components}


def _opened_shop(shop: Shop) -> dg.ResourceDefinition:
    @dg.resource(description="The shop's components, opened when the run starts and closed when it ends.")
    def opened_shop(_context: dg.InitResourceContext) -> Iterator[Host]:
        try:
            with open_host(shop) as host:
                yield host
        except (UnusableDatabase, InvalidHost) as error:
            raise dg.Failure(f"Nothing was changed: {error}.", allow_retries=False) from None

    return opened_shop


def _component_of_shop(name: str, purpose: str) -> dg.ResourceDefinition:
    @dg.resource(description=purpose, required_resource_keys={SHOP_RESOURCE})
    def component(context: dg.InitResourceContext) -> Any:
        return getattr(getattr(context.resources, SHOP_RESOURCE), name)

    return component


def _run_plan(shop: Shop) -> dg.ResourceDefinition:
    @dg.resource(
        description="The plan of the run: its time, the selected subtasks and their limits. The launchpad sets it.",
        config_schema={
            "now": dg.Field(dg.Noneable(str), is_required=False),
            "subtasks": dg.Field([str], default_value=[]),
            "limits": dg.Field({str: int}, default_value={}),
        },
    )
    def run_plan(context: dg.InitResourceContext) -> RunPlan:
        chosen = context.resource_config
        run = context.run
        planned = chosen.get("now") or (run.tags.get(SCHEDULED_AT_TAG) if run else None)
        selected = tuple(name for name in SUBTASK_NAMES if name in (chosen["subtasks"] or SUBTASK_NAMES))
        return RunPlan(
            run_id=run.run_id if run else None,
            clock=Clock.at(require_time(planned) if planned else utc_now()),
            selected=frozenset(selected),
            limits={**shop.settings.limits, **chosen["limits"]},
            budget=TimeBudget(timedelta(seconds=shop.settings.time_budget_seconds), _started_at(context), selected),
            shop=shop,
        )

    return run_plan


def _started_at(context: dg.InitResourceContext) -> datetime:
    """Return when the run started, so that all processes of a run share one time budget."""
    record = context.instance.get_run_record_by_id(context.run.run_id) if context.instance and context.run else None
    return started_at(record) if record and record.start_time else utc_now()
