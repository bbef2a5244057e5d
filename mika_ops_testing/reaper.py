"""A resource reaper: ends the processes of a test run and removes its temporary files, however the run ends.

The reaper is a process in a session of its own, so that neither Ctrl-C nor a signal to the group of the run reaches it.
It owns a folder, which all processes of the run inherit as ``TMPDIR``. Once the run has ended, even by SIGKILL, it
kills every process that has inherited the folder, whatever its parent is by now, and removes the folder.
"""

import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import psutil

SECONDS_FOR_A_DATABASE: Final = 10.0
"""How long a Postgres server may take to shut down, before it is killed."""

_POLL_SECONDS: Final = 0.05
_POLL_PARENT_SECONDS: Final = 1.0

_PROJECT: Final = Path(__file__).resolve().parents[1]


class Reaper:
    """The running reaper of this process."""

    def __init__(self) -> None:
        """Start the reaper, and have this process and all that it starts use the folder for temporary files."""
        self._process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "mika_ops_testing.reaper", str(os.getpid())],
            cwd=_PROJECT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            text=True,
        )
        assert self._process.stdout is not None
        self.folder = Path(self._process.stdout.readline().rstrip("\n"))
        os.environ["TMPDIR"] = tempfile.tempdir = str(self.folder)

    def finish(self) -> None:
        """Have the reaper end what is left, and wait until it has."""
        self._process.communicate()


def main() -> None:
    """Wait for the end of the process with the id that is given, then end what it has left."""
    watched = int(sys.argv[1])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with tempfile.TemporaryDirectory(prefix="mika-ops-tests-", ignore_cleanup_errors=True) as directory:
        folder = Path(directory).resolve()
        # As the system's own: the Postgres server and the tests that give up root's rights run as other users.
        folder.chmod(0o1777)
        print(folder, flush=True)
        _wait_for_end_of(watched)
        _end_processes(folder)
        _unmount(folder)


def _wait_for_end_of(watched: int) -> None:
    """Wait until the process closes its pipe or dies. A child that it has forked may hold the pipe for longer."""
    while os.getppid() == watched:
        if select.select([sys.stdin], [], [], _POLL_PARENT_SECONDS)[0]:
            return


def _end_processes(folder: Path) -> None:
    give_up_at = time.monotonic() + SECONDS_FOR_A_DATABASE
    while found := list(_processes(folder)):
        for process in found:
            with suppress(psutil.Error):
                # A Postgres server that is killed leaves shared memory behind; SIGQUIT is its immediate shutdown.
                gently = process.name() == "postgres" and time.monotonic() < give_up_at
                process.send_signal(signal.SIGQUIT if gently else signal.SIGKILL)
        time.sleep(_POLL_SECONDS)


def _processes(folder: Path) -> Iterator[Any]:
    """Yield the processes whose temporary files lie in the folder, or in the folder of a run within this run."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if Path(process.environ().get("TMPDIR", "")).is_relative_to(folder):
                yield process
                yield from process.children(recursive=True)


def _unmount(folder: Path) -> None:
    """Take away the disks that tests have mounted, which could not be removed."""
    for partition in psutil.disk_partitions(all=True):
        if Path(partition.mountpoint).is_relative_to(folder):
            subprocess.run(["umount", "--lazy", partition.mountpoint], check=False)  # noqa: S603, S607


if __name__ == "__main__":
    main()
