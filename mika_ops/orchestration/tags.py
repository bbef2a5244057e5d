"""The tags of a run: which shop it maintains, why it started, and how its subtasks and checks ended."""

from collections.abc import Iterable, Mapping
from typing import Final

SHOP_TAG: Final = "mika/shop"
"""Names the run's shop, if the code location has several."""

MAINTAINS_TAG: Final = "mika/maintains"
"""On every maintenance run, with one value per shop: a concurrency limit on this tag runs a shop's jobs one by one."""

WHY_TAG: Final = "mika/why"
"""Says why the tick started the run."""

COMPLETED_TAG: Final = "mika/completed"
FAILED_TAG: Final = "mika/failed"
SKIPPED_TAG: Final = "mika/skipped"
"""Name the subtasks by how they ended, separated by commas. A subtask that was not chosen is in none of them."""

HEALTHY_TAG: Final = "mika/healthy"
UNHEALTHY_TAG: Final = "mika/unhealthy"
"""Name the checks that passed and that failed after the run, separated by commas."""

RESULT_TAGS: Final = (COMPLETED_TAG, FAILED_TAG, SKIPPED_TAG, HEALTHY_TAG, UNHEALTHY_TAG)
"""The tags that the summary of a run adds."""

SCHEDULED_AT_TAG: Final = ".dagster/scheduled_execution_time"
"""Dagster's own tag: the time for which a schedule, mika-ops' or another, planned the run."""


def join_names(names: Iterable[str]) -> str:
    """Return the value of a tag that names subtasks or checks."""
    return ",".join(names)


def names_in(tags: Mapping[str, str], tag: str) -> frozenset[str]:
    """Return the subtasks or checks that a tag names; none if the run does not have the tag."""
    return frozenset(name for name in tags.get(tag, "").split(",") if name)
