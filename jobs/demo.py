"""The whole platform on generated phantoms: files, shards, training, a table, restored files.

python jobs/demo.py [--out demo-output]. One local Ray, SQLite MLflow, a few minutes on two cores.
"""

import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from amir import cluster
from amir.command_line import read_yaml, settings_from, validate
from amir.config import (
    DemoSettings,
    EvaluateSettings,
    PrepareSettings,
    RestoreSettings,
    TrainSettings,
)
from amir.dataset.cohort import CohortRow, read_cohort
from amir.dataset.prepare import prepare, ray_map
from amir.dataset.summary import summary
from amir.evaluation.evaluate import Evaluation, evaluate
from amir.inference.files import restore_file
from amir.job import Progress, run_job, say
from amir.modality import Modality
from amir.phantoms import write_phantom_cohort
from amir.training.ray_trainer import run

CONFIG = Path(__file__).parent / "configs" / "demo.yaml"
SUBJECTS = {"train": 6, "validation": 1, "test": 3}


def main(arguments: Sequence[str]) -> None:
    out = settings_from(arguments, DemoSettings).out.absolute()
    start = time.monotonic()
    place = out / time.strftime("%Y%m%d-%H%M%S")
    cluster.connect()

    say("1/5 phantoms: a head, an abdomen and a trunk for each subject, as DICOM and NIfTI files")
    cohort = write_phantom_cohort(place / "scans", subjects_per_modality=SUBJECTS)

    say("2/5 prepare: simulate the bad scan of each, write shards")
    prepared = PrepareSettings(cohort=cohort, out=place / "dataset")
    manifest = prepare(prepared, each=ray_map, report=Progress("prepared scans"))
    say(summary(manifest))

    say("3/5 train one network for all three")
    chosen = read_yaml(CONFIG) | {"storage": out / "storage", "run": f"demo-{place.name}"}
    chosen["data"]["path"] = place / "dataset"
    result = run(validate(TrainSettings, chosen))

    say("4/5 evaluate on subjects it has never seen")
    scored = EvaluateSettings(
        data=place / "dataset",
        models=(result.folder.name,),
        out=place / "evaluation",
        storage=out / "storage",
    )
    evaluation = evaluate(scored, report=Progress("scored scans"))

    say("5/5 restore files")
    rows = [row for row in read_cohort(cohort) if row.split == "test"]
    for row in (_first(rows, dicom=True), _first(rows, dicom=False)):
        _restore(row, result.folder.name, place, out / "storage")
    say(_closing(place, out, evaluation, time.monotonic() - start))


def _first(rows: Sequence[CohortRow], *, dicom: bool) -> CohortRow:
    return next(row for row in rows if row.target.is_dir() == dicom)


def _restore(row: CohortRow, run_name: str, place: Path, storage: Path) -> None:
    name = row.target.name if row.target.is_dir() else f"{row.patient_id}.nii.gz"
    clipped = restore_file(
        RestoreSettings(
            model=run_name,
            input=row.target,
            out=place / "restored" / name,
            modality=row.modality,
            storage=storage,
        )
    ).restoration.clipped
    say(f"{row.target.name} -> {place / 'restored' / name}, {clipped} voxels outside the range")


def _closing(place: Path, out: Path, evaluation: Evaluation, seconds: float) -> str:
    gains = ", ".join(
        f"{task} {evaluation.table.gains[evaluation.table.methods[-1], task].mean:+.2f} dB"
        for task in Modality
    )
    python = shlex.quote(sys.executable)
    tracking = shlex.quote(f"sqlite:///{out / 'storage' / 'mlflow.db'}")
    return f"""
{evaluation.text}
In {seconds:.0f} s: {gains} over the degraded input. Phantoms and minutes, not the paper's data
and days; research use only.

  picture   {evaluation.folder / "picture.png"}
  table     {evaluation.folder / "table.md"}
  restored  {place / "restored"}
  dataset   {place / "dataset"}
  run       {out / "storage" / f"demo-{place.name}"}
  MLflow    {python} -m mlflow server --backend-store-uri {tracking}

Next, with your own scans:
  1. write cohort.csv: patient_id,modality,target,degraded,split (examples/real_scans.csv is one)
  2. {python} jobs/prepare_dataset.py --cohort cohort.csv --out data/mine
  3. {python} jobs/train_all_in_one.py --data data/mine --config jobs/configs/small.yaml
"""


if __name__ == "__main__":
    run_job(main)
