"""What one long series costs in memory, process by process, beside what the settings state.

    PYTHONPATH=platform:. python -m benchmarks.series_memory [--slices 3000] [--size 128]
        [--kind zip|nii|unreadable]

A CT of noise goes through the whole service on Ray, around a tiny network: as a zip of DICOM files
or as NIfTI; "unreadable" is as many zeros, refused once they are there, so that all it costs is
being received. Peaks are the kernel's (VmHWM: every page that was resident, shared libraries too),
in MiB more than the same process had after a single slice. Beside them, looked at every 50 ms, what
is a process' own (RssAnon) and what it has touched of Ray's object store (RssShmem), which is there
once for all processes and has a size of its own.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np

from amir.imaging import Scan, write_new_series, write_scan
from amir.modality import Modality
from benchmarks.measures import Line, table
from benchmarks.ray_service import RayService, ray_service, save_network

MIB = 2**20
# Titles of processes as Ray sets them, and as anyio starts those that decode and write.
PARTS = {
    "proxy": "ProxyActor",
    "HTTP replica": "ServeReplica:amir:http",
    "engine": "ServeReplica:amir:engine",
    "file process": "anyio",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--slices", type=int, default=3000)
    parser.add_argument("--size", type=int, default=128, help="of a slice's sides")
    parser.add_argument("--kind", choices=("zip", "nii", "unreadable"), default="zip")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="amir-benchmark-") as folder:
        print(table(list(measured(Path(folder), chosen))))


def measured(folder: Path, chosen: argparse.Namespace) -> Iterator[Line]:
    saved = save_network(folder / "model")
    models, engine = {"champion": str(saved.folder)}, {"replica": {"cpus": 2}}
    with ray_service(folder, models=models, engine=engine, http={"replicas": 1}) as service:
        for slices in (1, 2):
            restore(service, series(folder, slices, chosen))
        before = peaks(service)
        body = series(folder, chosen.slices, chosen)
        with watched(service) as (own, shared):
            rest = dict(own), dict(shared)
            start = time.perf_counter()
            answer = restore(service, body)
            seconds = time.perf_counter() - start
        after = peaks(service)
        limits = service.settings.limits
        state = limits.chunks_in_flight * 2 * limits.chunk_bytes / MIB
    what = f"{chosen.slices} slices of {chosen.size} x {chosen.size}"
    voxels = 4 * chosen.slices * chosen.size**2 / MIB
    yield Line("body", f"{what}, {chosen.kind}: body", body.stat().st_size / MIB, "MiB")
    yield Line("voxels", "as float32", voxels, "MiB")
    yield Line("answer", "answer", answer / MIB, "MiB")
    yield Line("seconds", "request", seconds, "s")
    for part in PARTS:
        yield Line(part, f"{part}: peak", after[part], "MiB")
        yield Line(f"{part}/more", f"{part}: more than before", after[part] - before[part], "MiB")
        for kind, seen, first in (("own", own, rest[0]), ("object store", shared, rest[1])):
            more = seen.get(part, 0.0) - first.get(part, 0.0)
            yield Line(f"{part}/{kind}", f"{part}: of it {kind}", more, "MiB")
    yield Line("stated", "HTTP replica, stated: chunks in flight", state, "MiB")
    yield Line("bound", "file process, stated: address space", limits.decode_bytes / MIB, "MiB")


def series(folder: Path, slices: int, chosen: argparse.Namespace) -> Path:
    """A file with so many slices."""
    if chosen.kind == "unreadable":
        with (folder / f"{slices}.bin").open("wb") as file:
            file.truncate(4 * slices * chosen.size**2)
        return folder / f"{slices}.bin"
    shape = chosen.size, chosen.size, slices
    noise = np.random.default_rng(0).normal(0, 100, shape).round().clip(-1000, 1000)
    scan = Scan(noise.astype(np.float32), np.diag([1, 1, 1, 1]), Modality.CT, "HU")
    if chosen.kind == "nii":
        write_scan(scan, folder / f"{slices}.nii")
        return folder / f"{slices}.nii"
    write_new_series(scan, folder / f"{slices}", patient_id="benchmark")
    with zipfile.ZipFile(folder / f"{slices}.zip", "w") as archive:
        for file in sorted((folder / f"{slices}").iterdir()):
            archive.write(file, file.name)
    return folder / f"{slices}.zip"


def restore(service: RayService, body: Path) -> int:
    """Bytes of the answer, of which no more than a part is held."""
    address = f"{service.url}/v1/restore?modality=CT"
    with body.open("rb") as file, httpx.stream("POST", address, content=file, timeout=3600) as told:
        if body.suffix != ".bin":
            told.raise_for_status()
        return sum(map(len, told.iter_bytes()))


def peaks(service: RayService) -> dict[str, float]:
    """MiB, of the largest process of each part."""
    return {
        part: max(map(_peak, service.pids(title)), default=0.0) for part, title in PARTS.items()
    }


@contextmanager
def watched(service: RayService) -> Iterator[tuple[dict[str, float], dict[str, float]]]:
    """MiB of each part's largest process, the most seen while the block runs: what is its own, and
    what it has touched of the object store. Both hold the state at the start when it begins.
    """
    own: dict[str, float] = {}
    shared: dict[str, float] = {}

    def look() -> None:
        for part, title in PARTS.items():
            for pid in service.pids(title):
                for seen, field in ((own, "RssAnon"), (shared, "RssShmem")):
                    seen[part] = max(seen.get(part, 0.0), _mib(pid, field))

    def keep_looking() -> None:
        while not over.wait(0.05):
            look()

    look()
    over = threading.Event()
    watch = threading.Thread(target=keep_looking)
    watch.start()
    try:
        yield own, shared
    finally:
        over.set()
        watch.join()


def _peak(pid: int) -> float:
    return _mib(pid, "VmHWM")


def _mib(pid: int, field: str) -> float:
    """0 of a process that has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(field)), 0.0)


if __name__ == "__main__":
    main()
