"""What an importer found in a folder: the cohort's rows, and what it passed over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from amir.dataset.cohort import CohortRow
from amir.errors import InputError


@dataclass
class Found:
    """rows: in the order of the patients. left_out: reason -> names. options: of the next job."""

    rows: list[CohortRow] = field(default_factory=list)
    left_out: dict[str, list[str]] = field(default_factory=dict)
    options: str = ""

    def leave_out(self, name: str, reason: str) -> None:
        self.left_out.setdefault(reason, []).append(name)

    def text(self) -> str:
        """Patients and scans per modality and split, then what was left out, for a person."""
        lines = []
        for modality in sorted({row.modality for row in self.rows}):
            rows = [row for row in self.rows if row.modality is modality]
            patients = {row.patient_id for row in rows}
            pairs = sum(row.degraded is not None for row in rows)
            splits = [f"{sum(r.split == s for r in rows)} {s or 'open'}" for s in _splits(rows)]
            lines.append(
                f"{modality}: {len(patients)} patients, {len(rows)} scans, {pairs} with a degraded "
                f"one; scans by split: {', '.join(splits)}"
            )
        for reason, names in self.left_out.items():
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            lines.append(f"left out, {reason}: {names[0]}{more}")
        return "\n".join(lines)


def files_below(root: Path, wanted: Callable[[Path], bool]) -> Iterator[Path]:
    """Files of a tree in a fixed order, without hidden ones; InputError where there is no tree."""
    if not root.is_dir():
        raise InputError("missing_file", f"there is no folder {root}; give the collection's root")
    for path in sorted(root.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
        if path.is_file() and not hidden and wanted(path):
            yield path


def check_anything_found(found: Found, root: Path, expected: str) -> Found:
    if not found.rows:
        told = f" ({found.text()})" if found.left_out else ""
        raise InputError("empty", f"{root} holds no {expected}{told}")
    return found


def _splits(rows: list[CohortRow]) -> list[str | None]:
    return [s for s in ("train", "validation", "test", None) if any(r.split == s for r in rows)]
