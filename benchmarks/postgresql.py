"""A PostgreSQL server of one's own, from Debian's package, for MLflow's tables."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def postgresql(port: int) -> Iterator[str]:
    """The address, for MLflow, of an empty database on loopback that is gone in the end.

    Its programs refuse to run as root: then they run as postgres, in a folder of that user's.
    """
    user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    as_user = ["runuser", "-u", user, "--"] if os.geteuid() == 0 else []
    with tempfile.TemporaryDirectory(prefix="amir-postgresql-", dir="/tmp") as name:
        folder = Path(name)
        if as_user:
            shutil.chown(folder, user)
        where, log = ["-D", str(folder / "data")], str(folder / "log")
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder}"

        def run(*command: str) -> None:
            subprocess.run(
                [*as_user, *command], check=True, capture_output=True, cwd="/", timeout=60
            )

        run("initdb", *where, "-U", "amir", "-A", "trust")
        run("pg_ctl", *where, "-l", log, "-w", "-o", options, "start")
        try:
            yield f"postgresql+pg8000://amir@127.0.0.1:{port}/postgres"
        finally:
            run("pg_ctl", *where, "-m", "immediate", "stop")
