"""The asset checks of a shop's health: each run evaluates them, and so does the UI on request."""

from collections.abc import Iterator, Mapping

import dagster as dg

from mika_ops.assembly import configured_components, open_host
from mika_ops.clock import utc_now
from mika_ops.config.settings import Settings, run_options_from
from mika_ops.config.shop import Shop
from mika_ops.host.errors import InvalidHost
from mika_ops.monitoring.checks import CHECKS, Check, CheckResult, run_checks
from mika_ops.monitoring.snapshot import take_snapshot
from mika_ops.orchestration.observability.assets import SHOP, asset_key
from mika_ops.store.errors import UnusableDatabase
from mika_ops.timestamps import to_timestamp


def evaluations(results: Mapping[str, CheckResult], shop: Shop) -> dict[str, dg.AssetCheckEvaluation]:
    """Return the evaluations that a run logs, by name of the check."""
    return {
        check.name: dg.AssetCheckEvaluation(
            asset_key=_asset_of(check, shop),
            check_name=check.name,
            passed=results[check.name].passed,
            severity=_severity(check, shop.settings),
            description=results[check.name].sentence,
            metadata={name: dg.MetadataValue.int(value) for name, value in results[check.name].numbers.items()},
        )
        for check in CHECKS
        if check.name in results
    }


def health_checks(shop: Shop) -> list[dg.AssetChecksDefinition]:
    """Return the checks, so that the UI shows and can evaluate them; none if the backlog cannot be read."""
    if "backlog" not in configured_components(shop):
        return []

    @dg.multi_asset_check(
        name="health" if shop.name is None else f"health_{shop.name}",
        description="Reads the backlog and what needs manual action, and compares both with the thresholds.",
        specs=[
            dg.AssetCheckSpec(
                check.name,
                asset=_asset_of(check, shop),
                description=_description(check, shop),
            )
            for check in CHECKS
        ],
        can_subset=True,
    )
    def health(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        try:
            with open_host(shop) as opened:
                if opened.backlog is None:
                    raise TypeError("there is no backlog to read")
                snapshot = take_snapshot(opened.backlog, run_options_from(shop.settings), now=to_timestamp(utc_now()))
        except (UnusableDatabase, InvalidHost) as error:
            raise dg.Failure(str(error), allow_retries=False) from None
        results = run_checks(snapshot, shop.settings)
        for check in CHECKS:
            key = dg.AssetCheckKey(_asset_of(check, shop), check.name)
            if check.name in results and key in context.selected_asset_check_keys:
                evaluation = evaluations(results, shop)[check.name]
                yield dg.AssetCheckResult(
                    asset_key=key.asset_key,
                    check_name=key.name,
                    passed=evaluation.passed,
                    severity=evaluation.severity,
                    description=evaluation.description,
                    metadata=evaluation.metadata,
                )

    return [health]


def _asset_of(check: Check, shop: Shop) -> dg.AssetKey:
    return asset_key(check.subtask or SHOP, shop.name)


def _severity(check: Check, settings: Settings) -> dg.AssetCheckSeverity:
    return dg.AssetCheckSeverity.ERROR if check.name in settings.check_errors else dg.AssetCheckSeverity.WARN


def _description(check: Check, shop: Shop) -> str:
    threshold = getattr(shop.settings, check.threshold)
    return f"{check.description}\n\nThreshold: {shop.names(check.threshold)}, {threshold:g}."
