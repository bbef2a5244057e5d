"""What Dagster loads: the shop that the environment describes."""

import gc
import logging

from mika_ops.config.loading import unknown_variables
from mika_ops.orchestration.definitions import build_definitions

defs = build_definitions()

for _sentence in unknown_variables():
    logging.getLogger(__name__).warning(_sentence)

# What is imported by now, above all Dagster, lives as long as the process. Without the freeze, the garbage collector
# scans it in each run and at its end, which took more than a tenth of the CPU time of an idle run.
gc.freeze()
