"""What Dagster loads for ``make dev``: the demo's shop, whatever the environment or a ``.env`` file says."""

import os
from pathlib import Path

from mika_ops.demo.settings import DATABASE_URL_VARIABLE, OUTBOX_VARIABLE, demo_settings
from mika_ops.orchestration.definitions import build_definitions

defs = build_definitions(settings=demo_settings(os.environ[DATABASE_URL_VARIABLE], Path(os.environ[OUTBOX_VARIABLE])))
