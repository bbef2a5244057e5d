"""What Dagster loads: the shop that the environment describes."""

import logging

from mika_ops.orchestration.definitions import build_definitions
from mika_ops.settings import unknown_variables

defs = build_definitions()

for _told in unknown_variables():
    logging.getLogger(__name__).warning(_told)
