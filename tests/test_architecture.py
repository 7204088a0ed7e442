"""The shape of the library: imports point one way, one door each, and importing does nothing."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LIBRARY = ROOT / "platform" / "amir"
ENTRY_POINTS = ("jobs", "serve", "tune")

# Read downward: a module or package imports what stands above its line, never beside or below it.
LAYERS = [
    ["errors", "client"],
    ["modality", "durable", "code_version", "allocator"],
    ["command_line", "job", "cluster", "parallel"],
    ["config"],
    ["intensity", "imaging", "degradations", "metrics", "models", "phantom_anatomy"],
    ["phantoms", "losses"],
    ["checkpoint", "tracking"],
    ["model_registry"],
    ["references"],
    ["inference", "dataset"],
    ["panels", "pages"],
    ["training", "evaluation"],
    ["promotion", "sweeping"],
]

DOORS = {
    "mlflow": ["tracking", "model_registry"],
    "pydicom": ["imaging.dicom", "imaging.scan"],
    "nibabel": ["imaging"],
    "highdicom": ["imaging.dicom"],
    "ray": [
        "cluster",
        "parallel",
        "training.ray_trainer",
        "training.ray_worker",
        "sweeping.trial",
        "sweeping.tuning",
    ],
}


DEPTHS = {part: depth for depth, layer in enumerate(LAYERS) for part in layer}


def module_name(file: Path) -> str:
    """Where a file stands in the library: `imaging.nifti`; a package's __init__ is the package."""
    return ".".join(file.relative_to(LIBRARY).with_suffix("").parts).removesuffix(".__init__")


MODULES = {
    module_name(file): file
    for file in sorted(LIBRARY.rglob("*.py"))
    if file != LIBRARY / "__init__.py"
}


def imported_names(file: Path) -> Iterator[str]:
    """Dotted names of all that a file imports, inside functions too; `from a import b` is a.b."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{file}: a relative import hides where it points"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def libraries_at_top() -> set[str]:
    """Modules of other projects that are imported together with the library."""
    statements = [node for file in MODULES.values() for node in ast.parse(file.read_text()).body]
    plain = {a.name for node in statements if isinstance(node, ast.Import) for a in node.names}
    named = {str(node.module) for node in statements if isinstance(node, ast.ImportFrom)}
    ours = {"amir", *sys.stdlib_module_names}
    return {name for name in plain | named if name.split(".")[0] not in ours}


def offences(name: str) -> Iterator[str]:
    """Imports of a module that do not point upward, leaving its own package aside."""
    own = name.split(".")[0]
    for imported in imported_names(MODULES[name]):
        package, part, *_ = *imported.split("."), ""
        if package == "amir" and part != own and DEPTHS.get(part, -1) >= DEPTHS[own]:
            yield f"{name} imports {imported}"


def run_python(script: str, *, cwd: Path, paths: tuple[Path, ...] = (LIBRARY.parent,)) -> str:
    """What a fresh interpreter prints; of the project it sees the paths alone."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, paths))}
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_standard_platform_module_survives_our_folder_of_that_name(tmp_path: Path) -> None:
    assert not (ROOT / "platform" / "__init__.py").exists()
    script = "import platform; print(platform.system())"
    told = run_python(script, cwd=tmp_path, paths=(ROOT, LIBRARY.parent))
    assert told.strip() == os.uname().sysname


def test_folders_of_entry_points_are_not_packages() -> None:
    assert [folder for folder in ENTRY_POINTS if (ROOT / folder / "__init__.py").exists()] == []


def test_every_module_stands_in_one_layer() -> None:
    assert sorted(DEPTHS) == sorted({name.split(".")[0] for name in MODULES})


def test_a_module_imports_only_what_stands_above_it() -> None:
    assert [offence for name in MODULES for offence in offences(name)] == []


@pytest.mark.parametrize("library", DOORS)
def test_each_big_library_has_its_doors(library: str) -> None:
    users = {
        name
        for name, file in MODULES.items()
        if any(imported.split(".")[0] == library for imported in imported_names(file))
    }
    assert {
        name for name in users if not any(f"{name}.".startswith(f"{d}.") for d in DOORS[library])
    } == set()


def test_entry_points_import_the_library_and_never_each_other() -> None:
    crossings = [
        f"{file.relative_to(ROOT)} imports {imported}"
        for folder in ENTRY_POINTS
        for file in sorted((ROOT / folder).rglob("*.py"))
        for imported in imported_names(file)
        if imported.split(".")[0] in set(ENTRY_POINTS) - {folder}
    ]
    assert crossings == []


def test_the_library_never_imports_its_entry_points() -> None:
    uses = {name.split(".")[0] for file in MODULES.values() for name in imported_names(file)}
    assert uses.isdisjoint({*ENTRY_POINTS, "tests", "benchmarks"})


IMPORT_EVERYTHING = """
import importlib, json, logging, os, pathlib, random, sys

for name in LIBRARIES:  # what these do when imported is not our doing
    importlib.import_module(name)
import numpy, torch

def state():
    return {
        "environment": dict(os.environ),
        "root handlers": [str(handler) for handler in logging.getLogger().handlers],
        "root level": logging.getLogger().level,
        "random": hash(random.getstate()),
        "numpy": str(numpy.random.get_state()),
        "torch": torch.get_rng_state().sum().item(),
        "torch threads": torch.get_num_threads(),
        "files": [str(file) for file in pathlib.Path.cwd().rglob("*")],
        "sys.path": list(sys.path),
    }

before = state()
for name in MODULES:
    importlib.import_module(f"amir.{name}")
after = state()
ray = sys.modules.get("ray")
changed = {key: (before[key], after[key]) for key in before if before[key] != after[key]}
print(json.dumps({"changed": changed, "ray": bool(ray) and ray.is_initialized()}))
"""


def test_importing_the_whole_library_does_nothing(tmp_path: Path) -> None:
    names = f"MODULES = {list(MODULES)}\nLIBRARIES = {sorted(libraries_at_top())}\n"
    script = f"{names}{IMPORT_EVERYTHING}"
    told = json.loads(run_python(script, cwd=tmp_path).splitlines()[-1])
    assert told == {"changed": {}, "ray": False}


@pytest.mark.parametrize("module", ["serve.http_replica", "serve.restoring.scan_files"])
def test_what_takes_and_reads_files_in_the_service_does_without_torch(
    module: str, tmp_path: Path
) -> None:
    script = f"import sys, {module}; print('torch' in sys.modules)"
    told = run_python(script, cwd=tmp_path, paths=(ROOT, LIBRARY.parent))
    assert told.splitlines()[-1] == "False"


LIGHT = ["amir.config", "amir.modality", "amir.client"]


@pytest.mark.parametrize(
    ("modules", "seconds"), [(["amir"], 0.1), (LIGHT, 0.5)], ids=["amir", "settings and client"]
)
def test_what_a_client_needs_is_imported_at_once(
    modules: list[str], seconds: float, tmp_path: Path
) -> None:
    script = f"""
import sys, time
start = time.process_time()
import {", ".join(modules)}
taken = time.process_time() - start
heavy = [name for name in ("torch", "ray", "mlflow", "numpy") if name in sys.modules]
print(taken, *heavy)
"""
    answers = [run_python(script, cwd=tmp_path).split() for _ in range(3)]
    assert answers[0][1:] == []
    assert min(float(answer[0]) for answer in answers) < seconds
