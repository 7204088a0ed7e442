"""Numbers of several processes, told as one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from amir.config import IntensityScale
from amir.inference.engine.slices import ModelDescription
from serve.metrics import METRICS, Metrics
from serve.shared_metrics import SharedMetrics

COUNTS_AND_DIES = """
import os, sys
from pathlib import Path
from serve.metrics import Metrics
from serve.shared_metrics import SharedMetrics

metrics = Metrics()
shared = SharedMetrics(Path(sys.argv[1]), metrics)
metrics.count("amir_problems", 3, code="empty")
metrics.observe("amir_forward_seconds", 0.5)
metrics.show("amir_queue_slices", 7)
shared.write()
os.kill(os.getpid(), 9)
"""


@pytest.fixture
def dead(tmp_path: Path) -> Path:
    """The folder of a process that counted three problems, a forward and seven slices, and died."""
    folder = tmp_path / "metrics"
    subprocess.run([sys.executable, "-c", COUNTS_AND_DIES, str(folder)], check=False)
    assert list(folder.glob("*.prom"))
    return folder


def told(shared: SharedMetrics, sample: str, **labels: str) -> float:
    families = text_string_to_metric_families(shared.text().decode())
    return sum(
        found.value
        for family in families
        for found in family.samples
        if found.name == sample and labels.items() <= found.labels.items()
    )


def test_any_process_tells_what_all_have_counted(tmp_path):
    several = [Metrics() for _ in range(3)]
    shared = [SharedMetrics(tmp_path, one) for one in several]
    for number, one in enumerate(several):
        one.count("amir_problems", 1 + number, code="empty")
        one.observe("amir_forward_seconds", 0.02 * 10**number)
        one.show("amir_queue_slices", 10)
    for one in shared:
        one.write()
    for one in shared:
        assert told(one, "amir_problems_total", code="empty") == 6
        assert told(one, "amir_forward_seconds_count") == 3
        assert told(one, "amir_forward_seconds_bucket", le="0.25") == 2
        assert told(one, "amir_queue_slices") == 30


def test_what_is_told_never_falls_whoever_is_asked(tmp_path):
    several = [Metrics() for _ in range(2)]
    shared = [SharedMetrics(tmp_path, one) for one in several]
    before = 0.0
    for turn in range(6):
        several[turn % 2].count("amir_problems", code="empty")
        now = told(shared[turn // 2 % 2], "amir_problems_total")
        assert now >= before
        before = now


def test_counters_of_the_dead_stay_and_their_gauges_do_not(dead):
    first = SharedMetrics(dead, Metrics())
    assert told(first, "amir_problems_total", code="empty") == 3
    assert told(first, "amir_forward_seconds_count") == 1
    assert told(first, "amir_queue_slices") == 0
    first.close()
    another = SharedMetrics(dead, Metrics())  # it may retire what the first one left
    assert told(another, "amir_problems_total", code="empty") == 3


def test_the_files_of_the_dead_become_one(dead):
    for _ in range(3):
        SharedMetrics(dead, Metrics()).close()
    living = SharedMetrics(dead, Metrics())
    living.write()
    assert len(list(dead.glob("*.prom"))) == 2
    assert len(list(dead.glob("*.lock"))) == 1
    assert told(living, "amir_problems_total") == 3


def test_models_are_those_of_the_process_that_answers(tmp_path):
    other = Metrics()
    other.show_models([ModelDescription("0" * 64, "champion", "", "", IntensityScale(), 1)])
    SharedMetrics(tmp_path, other).write()
    assert told(SharedMetrics(tmp_path, Metrics()), "amir_model_info") == 0


def test_every_metric_is_told_with_its_help(tmp_path):
    text = SharedMetrics(tmp_path, Metrics()).text().decode()
    kinds = {family.name: family.type for family in text_string_to_metric_families(text)}
    assert kinds == {name: metric.kind for name, metric in METRICS.items()}
