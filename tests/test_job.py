"""Exit codes and messages of jobs, and the line that says how far they are."""

from __future__ import annotations

import errno
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from amir import job
from amir.errors import GateError, InputError
from amir.job import Progress, exit_code

ROOT = Path(__file__).resolve().parent.parent


def raising(error: BaseException) -> Callable[[Sequence[str]], None]:
    def work(arguments: Sequence[str]) -> None:
        raise error

    return work


def test_a_job_that_works_exits_with_zero_and_gets_its_arguments() -> None:
    seen: list[str] = []
    assert exit_code(seen.extend, ["--out", "x"]) == 0
    assert seen == ["--out", "x"]


def test_wrong_input_is_one_line_with_its_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(raising(InputError("run_exists", "run a is finished")), []) == 2
    assert capsys.readouterr().err == "error [run_exists]: run a is finished\n"


def test_a_gate_that_says_no_has_its_own_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(raising(GateError("the candidate is worse")), []) == 3
    assert capsys.readouterr().err == "error [refused]: the candidate is worse\n"


def test_a_failure_is_told_with_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(raising(ZeroDivisionError("by zero")), []) == 1
    told = capsys.readouterr().err
    assert "Traceback" in told
    assert told.endswith("error [failed]: ZeroDivisionError: by zero\n")


def test_an_interruption_says_how_to_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(raising(KeyboardInterrupt()), []) == 130
    assert "run the same command again" in capsys.readouterr().err


def test_a_full_disk_is_a_failure_while_running_whoever_found_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    wrapped = RuntimeError("could not write")
    wrapped.__cause__ = OSError(errno.ENOSPC, "No space left on device")
    for error in (InputError("disk_full", "no room"), wrapped, OSError(errno.EDQUOT, "quota")):
        assert exit_code(raising(error), []) == 1
        assert capsys.readouterr().err.startswith("error [disk_full]: ")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Its last entry is the time."""
    times = [100.0]
    monkeypatch.setattr(job.time, "monotonic", lambda: times[-1])
    return times


def test_progress_says_the_pace_of_what_this_job_did(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    progress = Progress("prepared scans")
    progress(10, 40)  # found finished
    clock.append(130.0)
    progress(20, 40)
    clock.append(160.0)
    progress(40, 40)
    assert capsys.readouterr().out.splitlines() == [
        "prepared scans: 20 of 40 (20 per minute, 60 s left)",
        "prepared scans: 40 of 40 (30 per minute)",
    ]


def test_progress_does_not_speak_all_the_time(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    progress = Progress("scored scans")
    for done in range(100):
        clock.append(100 + done / 10)
        progress(done, 100)
    assert len(capsys.readouterr().out.splitlines()) <= 5


def test_progress_with_nothing_left_to_do_names_no_pace(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    Progress("prepared scans")(3, 3)
    assert capsys.readouterr().out == "prepared scans: 3 of 3\n"


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("prepare_dataset.py --out o", "cohort is needed: give --cohort"),
        ("prepare_dataset.py --cohort none.csv --out o", "[missing_file]: there is no cohort"),
        ("prepare_dataset.py --cohrt c.csv", "Did you mean --cohort?"),
        ("restore.py --model m --input i --out .", "[invalid_setting]: . exists"),
        ("restore.py --model m --input i --out o", "[unknown_model]: no run 'm' in storage"),
    ],
)
def test_a_job_with_wrong_input_exits_with_two_and_says_so(
    command: str, message: str, tmp_path: Path
) -> None:
    script, *arguments = command.split()
    done = subprocess.run(
        [sys.executable, ROOT / "jobs" / script, *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
