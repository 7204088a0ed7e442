"""What tests share: reference numbers, real scans, one Ray; and a line on what did not run."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from amir.checkpoint import Checkpoint
    from amir.config import TrainSettings
    from tests.picture_archives import Orthanc

ROOT = Path(__file__).resolve().parent.parent
RAY_TIMEOUT_SECONDS = 300
SERVER_SECONDS = 90
# Read by Ray when it is imported or started; left alone where the caller has set them.
RAY_ENVIRONMENT = {
    "RAY_AUTH_MODE": "disabled",
    "RAY_DATA_USE_DATASOURCE_V2": "0",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "30",
}
# Debian keeps servers out of an ordinary user's PATH.
SERVER_FOLDERS = [Path("/usr/sbin"), *sorted(Path("/usr/lib/postgresql").glob("*/bin"))]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run the tests marked slow too")
    parser.addoption(
        "--require-system",
        action="store_true",
        help="a missing program that a test marked system needs is a failure, not a skip",
    )


def pytest_configure(config: pytest.Config) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # A shell's background job is deaf to Ctrl-C, and so would be what the tests interrupt.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for name, value in RAY_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    # The tests' tensors are tiny: on a busy machine threads that wait for each other cost tenfold.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    # Triton's kernels run in its interpreter, on any machine; read when Triton is imported.
    os.environ.setdefault("TRITON_INTERPRET", "1")
    os.environ["PATH"] = os.pathsep.join([os.environ["PATH"], *map(str, SERVER_FOLDERS)])
    # Inherited by Ray's workers and by every command a test starts: amir, and serve and tune.
    paths = [str(ROOT / "platform"), str(ROOT), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if "ray_cluster" in getattr(item, "fixturenames", ()):
            item.add_marker("ray")
        if item.get_closest_marker("ray"):
            limit_ray_test(item)
    if not config.getoption("--slow") and "slow" not in config.option.markexpr:
        deselect_slow_tests(config, items)


def limit_ray_test(item: pytest.Item) -> None:
    """A Ray call that hangs ends the whole run: a signal would wait for Ray to return."""
    stated = item.get_closest_marker("timeout")
    seconds = stated.args[0] if stated and stated.args else RAY_TIMEOUT_SECONDS
    item.add_marker(pytest.mark.timeout(seconds, method="thread"), append=False)


def deselect_slow_tests(config: pytest.Config, items: list[pytest.Item]) -> None:
    slow = [item for item in items if item.get_closest_marker("slow")]
    if slow:
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if not item.get_closest_marker("slow")]
    config.stash[SLOW_LEFT_OUT] = len(slow)


SLOW_LEFT_OUT = pytest.StashKey[int]()


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("system"):
        if not mark.args:
            raise pytest.UsageError(f'{item.nodeid}: name the program, as in system("dcmdump")')
        missing = [program for program in mark.args if shutil.which(program) is None]
        if missing:
            answer = pytest.fail if item.config.getoption("--require-system") else pytest.skip
            answer(f"needs {', '.join(missing)}: make system-packages")


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    reasons = Counter(skip_reason(report) for report in terminalreporter.stats.get("skipped", []))
    if slow := config.stash.get(SLOW_LEFT_OUT, 0):
        reasons["slow: make test-all"] = slow
    listed = "; ".join(f"{count} {reason}" for reason, count in reasons.most_common())
    terminalreporter.write_line(f"not run: {reasons.total()}{f' ({listed})' if listed else ''}")


def skip_reason(report: pytest.TestReport) -> str:
    """The reason alone, of the (file, line, "Skipped: reason") that pytest keeps."""
    return str(report.longrepr[2]).removeprefix("Skipped: ")


@pytest.fixture(scope="session")
def golden() -> Path:
    """Numbers made with the published codes; $AMIR_GOLDEN, else ../shared/golden."""
    folder = Path(os.environ.get("AMIR_GOLDEN", ROOT.parent / "shared" / "golden"))
    if not folder.is_dir():
        pytest.skip("the reference numbers (golden folder) are not on this machine")
    return folder


@pytest.fixture(scope="session")
def real_scans() -> Path:
    """Real scans; $AMIR_REAL_SCANS, else ../shared/data."""
    folder = Path(os.environ.get("AMIR_REAL_SCANS", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("the real scans are not on this machine")
    return folder


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """One local Ray, four logical CPUs, for the whole run; tests that ask for it are marked ray."""
    import ray

    # A socket's path may have about 107 bytes: pytest's own folders are too long for Ray's.
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")
    ray.init(
        address="local",
        num_cpus=4,
        include_dashboard=False,
        object_store_memory=500_000_000,
        _temp_dir=folder,
        # Ray does not quote this itself where a task has a runtime_env: in a folder with a space
        # the worker would never start, and whoever waits for it would hang.
        runtime_env={"py_executable": shlex.quote(sys.executable)},
        logging_level="warning",
    )
    yield
    ray.shutdown()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def mlflow_server() -> Callable[[str, Path], AbstractContextManager[str]]:
    """Starts a server: with mlflow_server("sqlite:////...", folder for its files) as address."""
    return serve_mlflow


@contextmanager
def serve_mlflow(database: str, folder: Path) -> Iterator[str]:
    port = port_nobody_uses()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1"]
    places = ["--backend-store-uri", database, "--artifacts-destination", str(folder / "files")]
    log = folder / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--port", str(port), *places, "--workers", "1"],
            stdout=output,
            stderr=output,
            start_new_session=True,  # so that its workers end with it
        )
        try:
            wait_for(f"http://127.0.0.1:{port}/health", process, log)
            yield f"http://127.0.0.1:{port}"
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(timeout=10)


@pytest.fixture(scope="session")
def free_port() -> Callable[[], int]:
    """Asks the system for a port nobody listens on."""
    return port_nobody_uses


def port_nobody_uses() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Until a server answers; what it printed if it ended or takes longer than a minute or two."""
    deadline = time.monotonic() + SERVER_SECONDS
    while not answers(address):
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.2)


def answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=2) as response:
            return bool(response.status == 200)
    except OSError:
        return False


@pytest.fixture(scope="session")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    """An empty Orthanc with DICOMweb on loopback: for tests marked system("Orthanc")."""
    from tests.picture_archives import running_orthanc

    with running_orthanc(tmp_path_factory.mktemp("orthanc"), port_nobody_uses()) as archive:
        yield archive


@pytest.fixture(scope="session")
def phantom_cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """cohort.csv of 48 x 48 phantoms: of each modality 2 to train on, 1 to validate, 1 to test."""
    from amir.modality import Modality
    from amir.phantoms import write_phantom_cohort

    return write_phantom_cohort(
        tmp_path_factory.mktemp("cohort"),
        subjects_per_modality={"train": 2, "validation": 1, "test": 1},
        size=48,
        slices={Modality.MRI: 10, Modality.CT: 4, Modality.PET: 24},
    )


@pytest.fixture(scope="session")
def tiny_dataset(phantom_cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dataset folder of phantom_cohort; tests that alter one copy it."""
    from amir.config import PrepareSettings
    from amir.dataset.prepare import prepare

    out = tmp_path_factory.mktemp("dataset") / "tiny"
    prepare(PrepareSettings(cohort=phantom_cohort, out=out), each=map)
    return out


@pytest.fixture(scope="session")
def tiny_network() -> dict[str, Any]:
    """Settings of an AMIR that restores a slice in milliseconds."""
    blocks = heads = (1, 1, 1, 1)
    return {"dim": 4, "blocks": blocks, "refinement_blocks": 1, "heads": heads, "instructions": 4}


@pytest.fixture(scope="session")
def save_checkpoint(tiny_network: dict[str, Any]) -> Callable[..., Checkpoint]:
    """Writes a checkpoint of a tiny AMIR with random weights, with training state unless not."""
    import torch

    from amir import checkpoint
    from amir.config import IntensityScale
    from amir.models.registry import build_model

    def save(folder: Path, *, seed: int = 0, trains: bool = True) -> Checkpoint:
        torch.manual_seed(seed)
        weights = build_model("amir", **tiny_network).state_dict()
        step = int(folder.name) if folder.name.isdecimal() else 0
        settings = checkpoint.describe(
            "amir",
            tiny_network,
            intensity=IntensityScale(),
            dataset_digest="ab" * 32,
            code_version="test",
            step=step,
        )
        moments = {name: torch.rand_like(tensor) for name, tensor in weights.items()}
        return checkpoint.save(
            folder,
            weights=weights,
            settings=settings,
            scores={"MRI": {"psnr": 30.0}},
            state=(moments, {"step": step, "best_gain": 0.5}) if trains else None,
        )

    return save


@pytest.fixture
def train_settings(
    tiny_dataset: Path, tiny_network: dict[str, Any], tmp_path: Path
) -> Callable[..., TrainSettings]:
    """Settings of a short run on tiny_dataset: train_settings(steps=8, **{"workers.count": 2})."""
    from amir.command_line import set_dotted, validate
    from amir.config import TrainSettings

    def settings(**chosen: Any) -> TrainSettings:
        tree: dict[str, Any] = {
            "data": {"path": tiny_dataset, "crop": 16, "sampling": "uniform"},
            "storage": tmp_path / "storage",
            "run": "tiny",
            "steps": 8,
            "batch": 6,
            "model": dict(tiny_network),
            "validation": {"every": 1000, "slices": 2},
            "outliers": {"slices": 0},
            "tracking": {"uri": "none"},
        }
        for name, value in chosen.items():
            set_dotted(tree, name, value)
        return validate(TrainSettings, tree)

    return settings
