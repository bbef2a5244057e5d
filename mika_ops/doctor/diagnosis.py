"""The diagnosis of a shop: the results of all probes, and a forecast of each subtask of a run. It changes nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from mika_ops.assembly import configured_components
from mika_ops.config.shop import Shop
from mika_ops.doctor.probe import ProbeResult, ProbeStatus, run_probe
from mika_ops.doctor.probes import PROBES
from mika_ops.subtasks.registry import SUBTASKS
from mika_ops.subtasks.subtask import Subtask, skip_reason

SubtaskStatus: TypeAlias = Literal["runs", "skipped", "cannot run"]


@dataclass(frozen=True)
class SubtaskForecast:
    """Whether the next run would run a subtask, and the reason if it would not."""

    name: str
    status: SubtaskStatus
    reason: str | None = None


@dataclass(frozen=True)
class Diagnosis:
    """The results of all probes, and the forecast of each subtask, in the order of a run."""

    results: Sequence[ProbeResult]
    subtasks: Sequence[SubtaskForecast]

    @property
    def ok(self) -> bool:
        """Whether nothing that is configured is broken."""
        return all(result.status != "broken" for result in self.results)


def diagnose(shop: Shop) -> Diagnosis:
    """Test everything that the settings configure, each within its own timeout. Changes nothing, and never raises."""
    results = [result for probe in PROBES for result in run_probe(probe, shop)]
    return Diagnosis(results, [_forecast(subtask, shop, results) for subtask in SUBTASKS])


def _forecast(subtask: Subtask, shop: Shop, results: Sequence[ProbeResult]) -> SubtaskForecast:
    present = configured_components(shop) - _disabled_by(results, "not configured")
    reason = skip_reason(subtask, present, shop.names)
    if reason is not None:
        return SubtaskForecast(subtask.name, "skipped", reason)
    # A subtask uses the first component that is configured: it does not fall back on another one if that is broken.
    needed = {next(name for name in need if name in present) for need in subtask.needs}
    broken = [result.name for result in results if result.status == "broken" and result.disables & needed]
    if broken:
        return SubtaskForecast(subtask.name, "cannot run", f"broken: {', '.join(broken)}")
    return SubtaskForecast(subtask.name, "runs")


def _disabled_by(results: Sequence[ProbeResult], status: ProbeStatus) -> frozenset[str]:
    return frozenset().union(*(result.disables for result in results if result.status == status))
