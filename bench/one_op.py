"""The floor of a run: a job with one op that does nothing."""

import dagster as dg


@dg.op
def nothing() -> None:
    """Do nothing."""


@dg.job(executor_def=dg.in_process_executor)
def one_op() -> None:
    """Run one op."""
    nothing()


defs = dg.Definitions(jobs=[one_op])
