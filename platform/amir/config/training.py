"""A dataset to a trained network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from amir.config.engine import Precision
from amir.config.section import Decay, Kernels, PositiveFloat, Section
from amir.config.tracking import TrackingSettings
from amir.modality import Modality


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
    late_crop: Annotated[int, Field(ge=16, multiple_of=8)] | None = None
    """Height and width of the crops from late_crop_from on; null keeps `crop` to the end."""
    late_crop_from: Annotated[int, Field(ge=1)] = 1
    """The step, counted from 0, that is the first with late crops."""
    damaged: Literal["stop", "skip"] = "stop"
    """At missing or damaged shards: refuse to start, or train without them, counted and told."""


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
    balancing: Literal["none", "uncertainty"] = "none"
    """Every pixel alike, as published, or tasks weighted by a learnt scale of their errors."""
    contrast_weight: Annotated[float, Field(ge=0)] = 0.1
    """Weight of the contrastive loss; this and the next three: model.instruction contrastive."""
    contrast_temperature: PositiveFloat = 0.07
    """What the similarities of instructions are divided by (MoCo, AirNet: 0.07)."""
    contrast_momentum: Annotated[float, Field(ge=0, le=1)] = 0.999
    """How much of itself the following encoder keeps in a step (MoCo, AirNet: 0.999)."""
    contrast_queue: Annotated[int, Field(ge=1)] = 2048
    """Instructions to tell apart (AirNet: 256 batches); at least a batch."""


class OptimizerSettings(Section):
    name: Literal["adam", "adamw", "muon"] = "adam"
    """Adam as published; with decoupled weight decay; or Muon for matrices and AdamW beside it."""
    learning_rate: PositiveFloat = 2e-4
    """Peak learning rate."""
    final_learning_rate: Annotated[float, Field(ge=0)] = 1e-6
    """Where the cosine ends."""
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    """Steps of linear warm-up before the cosine (the published recipe has none)."""
    betas: tuple[Decay, Decay] = (0.9, 0.999)
    """Adam's moment decays."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Decoupled weight decay of the weights, biases and norms left out; adamw and muon only."""
    clip_norm: PositiveFloat | None = None
    """Longest gradient over all parameters; a longer one is scaled down. null: as it is."""
    average_decay: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Decay of the moving average of the weights that is validated and kept; 0 takes the last."""

    @model_validator(mode="after")
    def _adam_does_not_decay(self) -> OptimizerSettings:
        if self.weight_decay and self.name == "adam":
            raise ValueError("weight_decay needs optimizer.name adamw or muon")
        return self


class ArithmeticSettings(Section):
    """How a step is computed: its time and memory; `amir.models.economy` tells what is rounded."""

    precision: Precision = "float32"
    """bfloat16 for the blocks' products and convolutions: faster where the hardware has it."""
    recompute: bool = False
    """Keep only the input of each block, and compute the rest again for the gradient."""


class DivergenceSettings(Section):
    action: Literal["stop", "skip"] = "stop"
    """At a loss that is no number or too large: end the run, or leave the step out (GPUs wait)."""
    loss_limit: PositiveFloat = 10.0
    """A larger L1 error (images lie in 0..1) counts as diverged."""
    most_skips: Annotated[int, Field(ge=1)] = 10
    """So many steps left out one after another end the run after all."""


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
    background: bool = False
    """Train on while one is written: for slow storage; a kill loses what was done meanwhile too."""


class WorkerSettings(Section):
    count: Annotated[int, Field(ge=1)] = 1
    """Data-parallel training workers; the batch is divided among them."""
    least: Annotated[int, Field(ge=1)] | None = None
    """Go on with as few where nodes are lost, with more when they are back; null waits for all."""
    look_seconds: PositiveFloat = 60
    """Where fewer will do: seconds between two looks for nodes that are back."""
    cpus: PositiveFloat = 1.0
    """CPUs reserved for each worker; Ray Data needs at least one more in the cluster."""
    gpu: bool = False
    """One GPU for each worker (NCCL); without, CPU (gloo)."""
    threads: Annotated[int, Field(ge=1)] | None = None
    """Torch threads of each worker; null takes its CPUs, rounded down, at least 1."""
    kernels: Kernels = "eager"
    """Plain torch, or Triton's kernels for what takes most of the time; on a GPU only."""
    compile: bool = False
    """Compile the network's blocks, which takes minutes when the run starts; on a GPU only."""
    graph: bool = False
    """Repeat a step as one CUDA graph in place of thousands of launches; one worker, no parts."""
    max_failures: Annotated[int, Field(ge=0)] = 3
    """Restarts from the latest checkpoint before the job gives up."""

    @model_validator(mode="after")
    def _speed_needs_a_gpu(self) -> WorkerSettings:
        chosen = {"kernels": self.kernels == "triton", "compile": self.compile, "graph": self.graph}
        for name, is_chosen in chosen.items():
            if is_chosen and not self.gpu:
                raise ValueError(f"{name} {getattr(self, name)} needs a GPU: set workers.gpu")
        if self.graph and max(self.counts) > 1:
            raise ValueError("graph holds one worker's step: set workers.count 1, or leave it out")
        return self

    @model_validator(mode="after")
    def _least_is_least(self) -> WorkerSettings:
        if self.least is not None and self.least > self.count:
            raise ValueError(f"least is {self.least}, more than the count of {self.count}")
        return self

    @property
    def counts(self) -> range:
        """How many workers there may be at a time."""
        return range(self.least or self.count, self.count + 1)


class OutlierSettings(Section):
    """What is measured of the training data, to tell images that are unlike it."""

    slices: Annotated[int, Field(ge=0)] = 128
    """Slices per task of the training and as many of the validation split; 0 measures nothing."""
    seconds: PositiveFloat = 30
    """Stop after so long, with fewer slices of each task."""


class MeasureSettings(Section):
    """jobs/outliers.py: measure the training data of a model that was trained without."""

    model: str
    """Model reference: a checkpoint folder, RUN, RUN@STEP or 12 hex digits of a digest."""
    data: Path
    """Dataset folder that the model was trained on."""
    outliers: OutlierSettings = OutlierSettings(seconds=3600)
    storage: Path = Path("storage")
    """Where a run named by --model lies."""
    device: str = "cpu"
    """Where the network runs: cpu or cuda."""


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
    accumulate: Annotated[int, Field(ge=1)] = 1
    """Parts of a worker's share, one after another to save memory; balance is of each."""
    seed: int = 0
    """Initial weights, order of the slices, crops, gate noise."""
    dry_run: bool = False
    """Print parameters, operations, memory, steps and expected time, and stop."""
    model: ModelSettings = ModelSettings()
    loss: LossSettings = LossSettings()
    optimizer: OptimizerSettings = OptimizerSettings()
    arithmetic: ArithmeticSettings = ArithmeticSettings()
    divergence: DivergenceSettings = DivergenceSettings()
    validation: ValidationSettings = ValidationSettings()
    checkpoints: CheckpointSettings = CheckpointSettings()
    outliers: OutlierSettings = OutlierSettings()
    workers: WorkerSettings = WorkerSettings()
    tracking: TrackingSettings = TrackingSettings()

    @model_validator(mode="after")
    def _batch_divides_among_workers(self) -> TrainSettings:
        for count in self.workers.counts:
            if self.batch % count:
                raise ValueError(
                    f"batch is {self.batch}, which {count} workers cannot share equally"
                )
            if self.batch // count % self.accumulate:
                raise ValueError(
                    f"each worker's {self.batch // count} crops cannot be run in "
                    f"{self.accumulate} equal parts (accumulate)"
                )
        return self

    @model_validator(mode="after")
    def _a_graph_holds_the_whole_step(self) -> TrainSettings:
        if self.workers.graph and (self.accumulate > 1 or self.model.instruction == "contrastive"):
            raise ValueError(
                "workers.graph needs accumulate 1 and an instruction that is not contrastive, "
                "whose views are drawn on the host"
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
        elsewhere = {"storage", "run", "outliers", "workers", "tracking", "dry_run", "arithmetic"}
        science = self.model_dump(mode="json", exclude={*elsewhere, "data"}) | {
            "data": self.data.model_dump(mode="json", exclude={"path", "damaged"})
        }
        if self.arithmetic.precision != "float32":  # runs from before the setting keep their names
            science["arithmetic"] = {"precision": self.arithmetic.precision}
        return science


class StatusSettings(Section):
    """jobs/status.py: how runs stand, from their folders alone."""

    storage: Path = Path("storage")
    """Folder of all runs."""
    run: str | None = None
    """One run; null tells of all."""
    backfill: bool = False
    """Send MLflow what it did not take of runs that have ended."""
    tracking: TrackingSettings = TrackingSettings()
