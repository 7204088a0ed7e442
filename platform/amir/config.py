"""Every setting of every job: typed, bounded, documented; the same in YAML and dotted options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from amir.modality import Modality

PositiveFloat = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Decay = Annotated[float, Field(ge=0, lt=1)]
AxisFactor = Annotated[int, Field(ge=1, le=8)]


class Section(BaseModel):
    """Settings never change once made, and a name that is not here is an error."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True
    )


class IntensityScale(Section):
    """MR has no physical unit: how a scan's numbers are brought onto the network's 0..4095."""

    scale: Literal["fixed", "percentile"] = "percentile"
    """fixed: use the numbers as they are, as the paper does on IXI; percentile: scale each scan."""
    percentile: Annotated[float, Field(gt=50, le=100)] = 99.9
    """This percentile of the degraded scan's foreground is brought to the set point."""
    set_point: Annotated[float, Field(gt=0, le=4095)] = 1500.0
    """Where the percentile lands, in the paper's 0..4095."""


class MRIDegradation(Section):
    factor: Annotated[int, Field(ge=2, le=8)] | tuple[AxisFactor, AxisFactor] = 4
    """Keep the central 1/factor of k-space (paper: 4, keeps 6.25 %); 1,4: of rows, of columns."""
    noise: Annotated[float, Field(ge=0)] = 0.0
    """Standard deviation of Rician noise as a fraction of the scan's maximum."""

    @field_validator("factor", mode="before")
    @classmethod
    def _reads_two_numbers(cls, value: object) -> object:
        if isinstance(value, str) and "," in value:
            return value.strip("[]()").split(",")
        return value


class CTDegradation(Section):
    dose: Annotated[float, Field(gt=0, lt=1)] = 0.25
    """Fraction of the scan's photons that the degraded scan keeps."""
    photons: PositiveFloat | None = None
    """Incident photons per ray of the scan itself; null estimates them from its noise."""
    electronic: Annotated[float, Field(ge=0, lt=0.01)] = 5e-6
    """Standard deviation of the detector's own noise as a share of the incident photons."""
    geometry: Literal["parallel", "fan"] = "parallel"
    """Rays in parallel over half a turn, or in a fan from a source over a full turn."""
    source_to_isocentre_mm: PositiveFloat = 541.0
    """Radius of the fan's source; the slice's middle is the isocentre."""
    views: Annotated[int, Field(ge=180, le=4608, multiple_of=4)] = 720
    """Views over the turn; with fewer than 720 a full-size slice shows their spokes."""


class PETDegradation(Section):
    dose_reduction: Annotated[float, Field(gt=1)] = 12.0
    """Events are thinned by this factor (paper: 12)."""
    full_counts: PositiveFloat | None = None
    """Expected coincidences per axial slice at full dose; null takes the default."""
    attenuation: Literal["none", "water"] = "none"
    """none: folded into the counts; water: of a body of water, found by threshold."""
    background: Annotated[float, Field(ge=0, le=0.9)] = 0.0
    """Scatter and randoms as a share of all coincidences, on top of full_counts."""
    views: Annotated[int, Field(ge=60, le=720)] = 180
    """Views over half a turn."""
    iterations: Annotated[int, Field(ge=1, le=50)] = 4
    """OSEM iterations of both reconstructions."""
    subsets: Annotated[int, Field(ge=1, le=60)] = 12
    """OSEM subsets of both reconstructions."""
    post_filter_mm: Annotated[float, Field(ge=0)] | None = None
    """Full width at half maximum of the Gaussian after OSEM, mm; null takes the default."""
    target: Literal["reconstruction", "source"] = "reconstruction"
    """The target is OSEM of the counts before thinning, or the scan as it came."""


class Degradations(Section):
    mri: MRIDegradation = MRIDegradation()
    ct: CTDegradation = CTDegradation()
    pet: PETDegradation = PETDegradation()

    def options(self, modality: Modality) -> dict[str, object]:
        """Keyword options for the modality's degradation; settings left null are left out."""
        section: Section = getattr(self, modality.value.lower())
        return section.model_dump(exclude_none=True)


class SplitFractions(Section):
    train: Fraction = 0.8
    """Share of the patients whose split the cohort leaves open."""
    validation: Fraction = 0.1
    """Likewise for validation; the rest is the test split."""

    @model_validator(mode="after")
    def _leaves_no_more_than_everything(self) -> SplitFractions:
        if self.train + self.validation > 1:
            raise ValueError(f"train + validation is {self.train + self.validation:g}, more than 1")
        return self


class ImportSettings(Section):
    """jobs/import_cohort.py: a collection's folder to a cohort file."""

    layout: Literal["ixi", "mayo", "bids", "published"]
    """Whose folder it is: IXI, AAPM-Mayo low-dose CT, any BIDS folder, AMIR's authors' release."""
    root: Path
    """The collection's top folder."""
    out: Path = Path("cohort.csv")
    """Cohort file to write."""
    series: str | None = None
    """mayo: which reconstruction, such as 3mm or 1mm_sharp; null where there is one only."""
    degraded: str | None = None
    """bids: the entity that marks degraded scans, such as acq-lowdose; null: simulate all."""


class PrepareSettings(Section):
    """jobs/prepare_dataset.py: scanner files to shards."""

    cohort: Path | None = None
    """CSV with patient_id, modality, target, degraded, split; see docs/datasets.md."""
    out: Path
    """Dataset folder to write."""
    seed: int = 0
    """Draws the open splits and all simulated noise."""
    splits: SplitFractions = SplitFractions()
    intensity: IntensityScale = IntensityScale()
    degradation: Degradations = Degradations()
    bad_scans: Literal["stop", "skip"] = "stop"
    """A scan that cannot be used stops the job, or is left out and listed in the manifest."""
    central_slices: Annotated[int, Field(ge=1)] | None = None
    """Keep only this many slices from the middle of each MR scan (paper: 100 of IXI's volumes)."""
    cpus: Annotated[int, Field(ge=1)] | None = None
    """Scans prepared at a time; null uses every CPU of the cluster."""
    verify: bool = False
    """Make nothing: compare a finished dataset's files with their digests."""
    preview: bool = False
    """Write preview.html into the dataset folder: a page to look at what was made."""

    @model_validator(mode="after")
    def _cohort_unless_finished(self) -> PrepareSettings:
        if self.cohort is None and not (self.verify or self.preview):
            raise ValueError("cohort is needed: give --cohort")
        return self


class DataSettings(Section):
    path: Path
    """Dataset folder made by jobs/prepare_dataset.py."""
    crop: Annotated[int, Field(ge=16, multiple_of=8)] = 128
    """Height and width of the training crops in pixels (paper: 128)."""
    tasks: Annotated[tuple[Modality, ...], Field(min_length=1)] = tuple(Modality)
    """Modalities to train on."""
    sampling: Literal["proportional", "uniform"] = "proportional"
    """Tasks in proportion to their slices, as published, or all alike."""
    flips: bool = False
    """Random flips and quarter turns of the crops (the published recipe has none)."""


class ModelSettings(Section):
    name: str = "amir"
    """A network of amir.models.registry.MODELS."""
    dim: Annotated[int, Field(ge=2)] = 42
    """Channels at full resolution; twice as many at each coarser level."""
    blocks: tuple[int, int, int, int] = (5, 7, 7, 9)
    """Transformer blocks per level."""
    refinement_blocks: Annotated[int, Field(ge=0)] = 4
    """Transformer blocks after the decoder."""
    heads: tuple[int, int, int, int] = (1, 2, 4, 8)
    """Attention heads per level."""
    instructions: Annotated[int, Field(ge=1)] = 32
    """N, entries of the dictionary (published code 32, paper 16); without one, its features."""
    experts: Annotated[int, Field(ge=1)] = 4
    """M, experts of a spatial routing module."""
    top_k: Annotated[int, Field(ge=1)] = 2
    """K, experts that see a pixel; at most M."""
    routing: Literal["published", "paper"] = "published"
    """The routing of the published code or of the paper's equations."""
    gate_noise: bool = True
    """Train the router with noise on its logits."""
    instruction: Literal["dictionary", "direct", "contrastive"] = "dictionary"
    """Drawn from a dictionary, made without one, or without one and with momentum contrast."""
    spatial_routing: bool = True
    """Route pixels to experts before the encoder levels."""
    channel_routing: bool = True
    """Weight channels by the instruction before the latent and decoder levels."""

    @model_validator(mode="after")
    def _top_k_fits_experts(self) -> ModelSettings:
        if self.top_k > self.experts:
            raise ValueError(f"top_k is {self.top_k}, more than the {self.experts} experts")
        return self

    def network(self) -> dict[str, object]:
        """Keyword arguments for build_model beside the name."""
        return self.model_dump(exclude={"name"})


class LossSettings(Section):
    balance_weight: Annotated[float, Field(ge=0)] = 0.001
    """gamma of Eq. 5: weight of the balance loss beside L1."""
    contrast_weight: Annotated[float, Field(ge=0)] = 0.1
    """Weight of the contrastive loss; this and the next three: model.instruction contrastive."""
    contrast_temperature: PositiveFloat = 0.07
    """What the similarities of instructions are divided by (MoCo, AirNet: 0.07)."""
    contrast_momentum: Annotated[float, Field(ge=0, le=1)] = 0.999
    """How much of itself the following encoder keeps in a step (MoCo, AirNet: 0.999)."""
    contrast_queue: Annotated[int, Field(ge=1)] = 2048
    """Instructions to tell apart (AirNet: 256 batches); at least a batch."""


class OptimizerSettings(Section):
    learning_rate: PositiveFloat = 2e-4
    """Peak learning rate."""
    final_learning_rate: Annotated[float, Field(ge=0)] = 1e-6
    """Where the cosine ends."""
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    """Steps of linear warm-up before the cosine (the published recipe has none)."""
    betas: tuple[Decay, Decay] = (0.9, 0.999)
    """Adam's moment decays."""


class ValidationSettings(Section):
    every: Annotated[int, Field(ge=1)] = 1000
    """Steps between validations; the last step is always validated."""
    slices: Annotated[int, Field(ge=1)] = 32
    """Slices per task, evenly spread over the validation split (published: 32)."""


class CheckpointSettings(Section):
    every: Annotated[int, Field(ge=1)] = 1000
    """Steps between checkpoints: at most this many are lost by a kill."""
    keep: Annotated[int, Field(ge=1)] = 2
    """Latest checkpoints kept; the best one is kept beside them."""


class WorkerSettings(Section):
    count: Annotated[int, Field(ge=1)] = 1
    """Data-parallel training workers; the batch is divided among them."""
    cpus: PositiveFloat = 1.0
    """CPUs reserved for each worker; Ray Data needs at least one more in the cluster."""
    gpu: bool = False
    """One GPU for each worker (NCCL); without, CPU (gloo)."""
    threads: Annotated[int, Field(ge=1)] | None = None
    """Torch threads of each worker; null takes its CPUs, rounded down, at least 1."""
    max_failures: Annotated[int, Field(ge=0)] = 3
    """Restarts from the latest checkpoint before the job gives up."""


class TrackingSettings(Section):
    uri: str | None = None
    """MLflow server or sqlite:////path; none: no MLflow; null: mlflow.db in the storage folder."""
    experiment: str = "amir"
    """MLflow experiment."""


class TrainSettings(Section):
    """jobs/train_all_in_one.py: shards to checkpoints."""

    data: DataSettings
    storage: Path = Path("storage")
    """Folder of all runs, shared by every node of the cluster."""
    run: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")] | None = None
    """Name of the run; null derives it from the settings and the dataset."""
    init_from: str | None = None
    """Start from this model's weights: a checkpoint folder, RUN or RUN@STEP."""
    steps: Annotated[int, Field(ge=1)] = 200_000
    """Optimizer updates."""
    batch: Annotated[int, Field(ge=1)] = 8
    """Crops per step over all workers."""
    seed: int = 0
    """Initial weights, order of the slices, crops, gate noise."""
    model: ModelSettings = ModelSettings()
    loss: LossSettings = LossSettings()
    optimizer: OptimizerSettings = OptimizerSettings()
    validation: ValidationSettings = ValidationSettings()
    checkpoints: CheckpointSettings = CheckpointSettings()
    workers: WorkerSettings = WorkerSettings()
    tracking: TrackingSettings = TrackingSettings()

    @model_validator(mode="after")
    def _batch_divides_among_workers(self) -> TrainSettings:
        if self.batch % self.workers.count:
            raise ValueError(
                f"batch is {self.batch}, which {self.workers.count} workers cannot share equally"
            )
        return self

    @model_validator(mode="after")
    def _batch_fits_the_queue(self) -> TrainSettings:
        queue = self.loss.contrast_queue
        if self.model.instruction == "contrastive" and queue < self.batch:
            raise ValueError(f"loss.contrast_queue is {queue}, less than a batch of {self.batch}")
        return self

    def science(self) -> dict[str, object]:
        """What decides the result; where it runs and what it is called do not."""
        elsewhere = {"storage", "run", "workers", "tracking"}
        return self.model_dump(mode="json", exclude={*elsewhere, "data"}) | {
            "data": self.data.model_dump(mode="json", exclude={"path"})
        }


class EvaluateSettings(Section):
    """jobs/evaluate.py: test slices to scores and the paper's table."""

    data: Path
    """Dataset folder."""
    models: Annotated[tuple[str, ...], Field(min_length=1)]
    """Model references: a checkpoint folder, RUN, RUN@STEP or models:/amir@champion."""
    out: Path
    """Folder for scores, tables and the picture."""
    split: Literal["train", "validation", "test"] = "test"
    """Split to score."""
    storage: Path = Path("storage")
    """Where runs named by --models lie."""
    tracking: TrackingSettings = TrackingSettings()
    gaussian_filter: bool = True
    """Add a Gaussian filter, its width chosen on the training split, as a floor to beat."""
    keep_restored: bool = False
    """Keep every restored slice below --out, on storage that all nodes share."""
    other_dataset: bool = False
    """Allow models that were trained on another dataset than this one."""
    training_data: tuple[str, ...] = ()
    """Dataset folders that such models were trained on: no patient may be in both."""
    seed: int = 0
    """Draws the resampled patients of the intervals and tests."""
    cpus: PositiveFloat = 1.0
    """CPUs of each scoring worker."""
    gpu: bool = False
    """Score on GPUs."""


class InterferenceSettings(Section):
    batches: Annotated[int, Field(ge=0)] = 8
    """Batches of each task from the training split, at least 2; 0 leaves interference out."""
    batch: Annotated[int, Field(ge=1)] = 4
    """Crops of a batch."""
    crop: Annotated[int, Field(ge=16, multiple_of=8)] = 128
    """Height and width of the crops in pixels."""


class InterpretSettings(Section):
    """jobs/interpret.py: what a model's routing does, in figures and tables."""

    model: str
    """Model reference: a checkpoint folder, RUN, RUN@STEP or models:/amir@champion."""
    data: Path
    """Dataset folder."""
    out: Path
    """Folder for the figures (SVG) and tables (Parquet)."""
    split: Literal["train", "validation", "test"] = "test"
    """Split whose slices are looked at."""
    slices: Annotated[int, Field(ge=1)] = 24
    """Slices per task, evenly spread over the split; always the same ones."""
    interference: InterferenceSettings = InterferenceSettings()
    seed: int = 0
    """Draws the places of the crops."""
    storage: Path = Path("storage")
    """Where a run named by --model lies."""
    tracking: TrackingSettings = TrackingSettings()
    gpu: bool = False
    """Use a GPU."""


class ReportSettings(Section):
    """jobs/report.py: an evaluation to one HTML page with figures, quantities and failures."""

    evaluation: Path
    """Folder that jobs/evaluate.py wrote with --out; report.html is written into it."""
    method: str | None = None
    """The model that the page is about, by its name in the tables; null takes the first."""
    data: Path | None = None
    """Dataset folder; null takes the one that was evaluated."""
    slices: Annotated[int, Field(ge=1)] = 24
    """Slices per task whose routing is looked at."""
    interference: InterferenceSettings = InterferenceSettings()
    seed: int = 0
    """Draws the places of the crops for the interference."""
    gpu: bool = False
    """Use a GPU."""


class GateSettings(Section):
    """What a candidate must hold to take the place of what an alias points to."""

    tolerance_db: Annotated[float, Field(ge=0)] = 0.05
    """How much PSNR a task may lose: the lower 95 % bound of its gain is above minus this."""
    ct_shift_hu: PositiveFloat = 1.0
    """Largest mean shift of a CT scan's flat regions, HU."""
    pet_activity: PositiveFloat = 0.01
    """Largest relative change of a PET scan's total activity."""
    concordance: Annotated[float, Field(ge=-1, le=1)] = 0.94
    """Lin's concordance that SUVmax and SUVmean of hot regions must reach."""
    latency_ms: PositiveFloat | None = None
    """Longest time for one slice of 256 x 256 on this device; null: measured, not judged."""
    accept_few_patients: bool = False
    """Let means decide where a task has fewer than five patients; the card then says so."""


class PromoteSettings(Section):
    """jobs/promote.py: let an alias point to a model that is no worse than what it points to."""

    model: str | None = None
    """The candidate: a checkpoint folder, RUN, RUN@STEP or models:/amir/3."""
    data: Path | None = None
    """Dataset folder whose split judges candidate and rival."""
    split: Literal["validation", "test"] = "test"
    """Split to judge on; always the same one for models that are to be compared."""
    alias: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$")] = "champion"
    """The alias to move."""
    gate: GateSettings = GateSettings()
    other_dataset: bool = False
    """Allow models that were trained on another dataset than --data."""
    training_data: tuple[Path, ...] = ()
    """Dataset folders that such models were trained on: no patient may be in both."""
    seed: int = 0
    """Draws the resampled patients of the intervals."""
    dry_run: bool = False
    """Judge and say the verdict; register nothing, move nothing."""
    rollback: bool = False
    """Point the alias back to the version it pointed to before; judges nothing."""
    archive: Annotated[int, Field(ge=1)] | None = None
    """Take this version out of use; refused while an alias points to it."""
    storage: Path = Path("storage")
    """Where runs named by --model lie, and promotions/ for what judging leaves."""
    tracking: TrackingSettings = TrackingSettings()
    cpus: PositiveFloat = 1.0
    """CPUs of each scoring worker."""
    gpu: bool = False
    """Score on GPUs."""

    @model_validator(mode="after")
    def _one_thing_is_asked(self) -> PromoteSettings:
        if self.rollback and self.archive is not None:
            raise ValueError("--rollback and --archive are two things: ask for one at a time")
        if not self.rollback and self.archive is None and None in (self.model, self.data):
            raise ValueError("--model (or --run) and --data are needed to promote a model")
        return self


class ExportSettings(Section):
    """jobs/export.py: one folder that restores without MLflow and without this storage."""

    model: str
    """Model reference: a checkpoint folder, RUN, RUN@STEP or models:/amir@champion."""
    out: Path
    """Folder to write; refused if it exists."""
    program: bool = True
    """Add the network as a program of torch.export, which runs without this library."""
    storage: Path = Path("storage")
    """Where a run named by --model lies."""
    tracking: TrackingSettings = TrackingSettings()


class RestoreSettings(Section):
    """jobs/restore.py: a degraded scan to a restored one."""

    model: str
    """Model reference: a checkpoint folder, RUN, RUN@STEP or models:/amir@champion."""
    input: Path
    """NIfTI, or a DICOM series: folder, zip, DICOMDIR or file; PATH#LABEL chooses among several."""
    out: Path
    """NIfTI file (.nii, .nii.gz) or folder for a DICOM series; refused if it exists."""
    modality: Modality | None = None
    """Needed where the file does not say it."""
    storage: Path = Path("storage")
    """Where a run named by --model lies."""
    tracking: TrackingSettings = TrackingSettings()


TableName = Literal["1", "2", "3", "S1"]
FigureName = Literal["Ia", "Ib", "II", "IIIa", "IIIb"]


class PaperSettings(Section):
    """jobs/paper.py: the paper's tables and figures, from a dataset folder alone."""

    data: Path
    """Dataset folder made by jobs/prepare_dataset.py."""
    out: Path
    """Folder for tables, figures and the scores behind them."""
    storage: Path = Path("storage")
    """Folder of all runs; a finished run of a row's settings is used again."""
    tables: tuple[TableName, ...] = ()
    """1, 2, 3, S1 (supplement, Table I); with neither tables nor figures named: all."""
    figures: tuple[FigureName, ...] = ()
    """Ia, Ib, II, IIIa, IIIb; with neither tables nor figures named: all."""
    miniature: bool = False
    """Small networks and few steps: shows that it works, says of itself: not comparable."""
    train: bool = True
    """Train the rows that have no finished run yet; without, they are said to be not trained."""
    split: Literal["validation", "test"] = "test"
    """Split to score and to draw."""
    workers: WorkerSettings = WorkerSettings()
    tracking: TrackingSettings = TrackingSettings()

    @property
    def wanted(self) -> tuple[tuple[TableName, ...], tuple[FigureName, ...]]:
        """Tables and figures to make."""
        if self.tables or self.figures:
            return self.tables, self.figures
        return get_args(TableName), get_args(FigureName)


class DemoSettings(Section):
    """jobs/demo.py: everything once, on generated phantoms."""

    out: Path = Path("demo-output")
    """Folder for the phantoms and all that is made of them."""
