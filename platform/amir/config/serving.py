"""The restoration service: what it listens to, whom it lets in, how much it takes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from amir.config.engine import EngineSettings
from amir.config.section import PositiveFloat, Section
from amir.config.tracking import TrackingSettings
from amir.config.trust import TrustSettings

Count = Annotated[int, Field(ge=1)]
Bytes = Annotated[int, Field(ge=1)]

LOOPBACK = ("127.0.0.1", "localhost", "::1")


class HttpSettings(Section):
    host: str = "127.0.0.1"
    """Address to listen on; anything but loopback needs tokens."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    """Port to listen on."""
    certificate: Path | None = None
    """PEM file with the certificate and its chain: the service then speaks HTTPS alone."""
    key: Path | None = None
    """PEM file with the certificate's private key."""
    replicas: Count = 2
    """Processes that take requests; one that dies leaves the others to answer."""

    @property
    def is_loopback(self) -> bool:
        return self.host in LOOPBACK

    @model_validator(mode="after")
    def _certificate_and_key(self) -> HttpSettings:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("HTTPS needs both http.certificate and http.key")
        return self


class TokenSettings(Section):
    file: Path | None = None
    """YAML file of mode 600 with the bearer tokens: name, sha256 (or token), expires."""
    environment: str = "AMIR_TOKENS"
    """Environment variable with further tokens: NAME=TOKEN, separated by commas."""
    required: bool = True
    """Refuse requests without a token; false is for loopback alone."""


class RateSettings(Section):
    requests_per_minute: PositiveFloat = 600
    """Of each token, on each replica, in the long run."""
    burst: Count = 60
    """How many requests of one token may come at once."""


class LimitSettings(Section):
    upload_bytes: Bytes = 2**30
    """Largest body; a longer one is refused (413) before it is read."""
    voxels: Count = 2**28
    """Largest volume, refused by what its header declares: 1024 slices of 512 x 512."""
    concurrent: Count = 16
    """Requests that one replica works on at once, at most: fewer where the engine refuses some.
    Four times as many wait their turn for engine.batch.queue_seconds; what is beyond that or has
    waited so long is refused (503) with Retry-After."""
    idle_seconds: PositiveFloat = 30
    """How long a client may neither send nor take a byte."""
    upload_seconds: PositiveFloat = 600
    """How long a whole upload may take."""
    decode_processes: Count = 2
    """Processes of each replica that decode and write files, which may die without it."""
    decode_seconds: PositiveFloat = 120
    """How long decoding or writing one upload may take."""
    decode_bytes: Bytes = 8 * 2**30
    """Address space of each such process."""
    chunk_bytes: Bytes = 2**24
    """Slices that go to the engine together, as float32."""
    chunks_in_flight: Count = 4
    """How many such chunks of one upload are at the engine at once."""


class TensorSettings(Section):
    """What the Open Inference Protocol (/v2) takes; its bodies are held in memory."""

    body_bytes: Bytes = 2**26
    """Largest body, unpacked: 64 slices of 512 x 512 as FP32."""
    json_bytes: Bytes = 2**23
    """Largest JSON in it; as Python objects, numbers take up to thirty times as much."""
    at_once: Count = 2
    """Requests that one replica parses and answers at once; more wait."""


class JobSettings(Section):
    """Long work that outlives a connection."""

    folder: Path | None = None
    """On a disk that all replicas share; null: jobs/ below storage."""
    keep_hours: PositiveFloat = 24
    """How long a job, its file and its result are kept after the job's last change."""
    stored: Count = 1000
    """Most jobs kept at once."""
    stored_bytes: Bytes = 64 * 2**30
    """Most bytes kept at once, uploads and results together."""
    at_once: Count = 2
    """Jobs that one replica works on at once; more wait."""
    lease_seconds: PositiveFloat = 15
    """After that long without a sign of life from its replica, another takes a job over."""
    attempts: Count = 3
    """A job that this many replicas died of has failed."""


def _champion() -> dict[str, str]:
    return {"champion": "models:/amir@champion"}


class ServeSettings(Section):
    """The service: serve/app.py and `make serve`."""

    models: Annotated[dict[str, str], Field(min_length=1)] = Field(default_factory=_champion)
    """Alias -> model reference; requests say ?model=ALIAS, or a digest of one of them."""
    default_model: str = "champion"
    """The alias of requests that name no model."""
    storage: Path = Path("storage")
    """Where a run named by a reference lies."""
    tracking: TrackingSettings = TrackingSettings()
    folder: Path | None = None
    """Where uploads lie while they are worked on, private to each process; null: the system's."""
    metrics_folder: Path | None = None
    """Where replicas keep what they count, on a disk they share; null: metrics/ below storage."""
    http: HttpSettings = HttpSettings()
    tokens: TokenSettings = TokenSettings()
    rate: RateSettings = RateSettings()
    limits: LimitSettings = LimitSettings()
    engine: EngineSettings = EngineSettings()
    tensors: TensorSettings = TensorSettings()
    jobs: JobSettings = JobSettings()
    trust: TrustSettings = TrustSettings()

    @model_validator(mode="after")
    def _default_model_is_listed(self) -> ServeSettings:
        if self.default_model not in self.models:
            raise ValueError(
                f"default_model is {self.default_model!r}, models has {', '.join(self.models)}"
            )
        return self

    @model_validator(mode="after")
    def _open_on_loopback_alone(self) -> ServeSettings:
        if not self.tokens.required and not self.http.is_loopback:
            raise ValueError(f"tokens.required is false, but http.host is {self.http.host}")
        return self


class StartSettings(Section):
    """`make serve`: the service on this machine, with a token of its own."""

    model: str | None = None
    """Model reference; null: the newest run of jobs/demo.py in the storage folder."""
    storage: Path = Path("demo-output/storage")
    """Where a run lies; jobs and results are kept there too."""
    tracking: TrackingSettings = TrackingSettings()
    tokens: Path = Path("demo-output/tokens.yaml")
    """The service's tokens; made, of mode 600 and with one token, if it is not there."""
    http: HttpSettings = HttpSettings()
    engine: EngineSettings = EngineSettings()
