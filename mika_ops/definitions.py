"""What Dagster loads: the shop that the environment describes."""

import gc
import logging

from mika_ops.config.loading import unknown_variables
from mika_ops.orchestration.definitions import build_definitions

defs = build_definitions()

for _sentence in unknown_variables():
    logging.getLogger(__name__).warning(_sentence)

# What is loaded by now, Dagster above all, lives as long as the process. Looking through it for garbage, in each run
# and at its end, took more than a tenth of the processor's time of a run that has nothing to do.
gc.freeze()
