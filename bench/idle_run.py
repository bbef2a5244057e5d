"""An idle maintenance run, against a Dagster run with one op that does nothing.

Each runs as a run worker does: in its own process with the in-process executor, recorded in a SQLite instance.
"""

import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from mika_ops.setting_names import PREFIX
from mika_ops_testing.sites import lay_out

PROJECT = Path(__file__).resolve().parents[1]


def idle_run(repetitions: int) -> tuple[float, float]:
    """Return the median seconds of each. They run in turns, so that both see the same machine."""
    with TemporaryDirectory(prefix="mika-ops-bench-") as directory:
        home = Path(directory)
        shutil.copyfile(PROJECT / "dagster.yaml", home / "dagster.yaml")
        url = f"sqlite:///{home / 'shop.db'}"
        lay_out(url)
        # Without bytecode each process would compile what it imports, and neither time would be that of a shop.
        kept_out = (PREFIX, "PYTHONDONTWRITEBYTECODE")
        environment = {name: value for name, value in os.environ.items() if not name.startswith(kept_out)}
        environment |= {"DAGSTER_HOME": str(home), f"{PREFIX}DATABASE_URL": url}
        environment |= {f"{PREFIX}EMAIL_DIRECTORY": str(home / "outbox"), "PYTHONPATH": str(PROJECT)}
        ours, floor = [], []
        for turn in range(repetitions + 1):
            seconds = (
                _seconds("bench.one_op", "one_op", home, environment),
                _seconds("mika_ops.definitions", "mika_maintenance", home, environment),
            )
            if turn:  # the first turn compiles and warms caches
                floor.append(seconds[0])
                ours.append(seconds[1])
    return statistics.median(ours), statistics.median(floor)


def _seconds(module: str, job: str, home: Path, environment: dict[str, str]) -> float:
    command = [sys.executable, "-m", "dagster", "job", "execute", "-m", module, "-j", job]
    started = time.perf_counter()
    subprocess.run(command, cwd=home, env=environment, check=True, capture_output=True)  # noqa: S603 - a fixed command
    return time.perf_counter() - started
