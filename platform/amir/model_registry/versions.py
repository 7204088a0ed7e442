"""Model versions in MLflow: folders that nothing in them executes, found by number, alias, digest.

An alias is moved by one request, the only step of a promotion that anybody else can see.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from amir.config import TrackingSettings
from amir.errors import InputError
from amir.tracking import MODEL, mlflow_client, tracking_uri, without_password

CHAMPION = "champion"
DIGEST, REPLACES, VERDICT, ARCHIVED = (
    "amir.digest",
    "amir.replaces",
    "amir.verdict",
    "amir.archived",
)
UNMOVED = "no alias was moved, so the same command can be run again"
PICKLES = {".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".bin", ".joblib"}


@dataclass(frozen=True)
class Version:
    """A registered version. digest: of its model. run_id: the MLflow run that holds its files."""

    number: int
    digest: str
    run_id: str
    source: str
    aliases: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def replaces(self) -> int | None:
        """The version that the alias pointed to before; None for the first champion."""
        number = self.tags.get(REPLACES, "")
        return int(number) if number else None


class ModelRegistry:
    """The registered model of one MLflow. Errors name its address, never a password in it."""

    def __init__(self, address: str, *, model: str = MODEL) -> None:
        self.address, self.model = address, model
        with self.answering():
            self.client = mlflow_client(address)

    @classmethod
    def of(cls, settings: TrackingSettings, storage: Path, *, model: str = MODEL) -> ModelRegistry:
        address = tracking_uri(settings, storage)
        if address is None:
            raise InputError(
                "invalid_setting", "the registry lies in MLflow: give --tracking.uri, not none"
            )
        return cls(address, model=model)

    def at(self, alias: str) -> Version | None:
        """The version that an alias points to; None if there is no such alias."""
        with self.answering():
            for found in self.client.search_registered_models(f"name = '{self.model}'"):
                if number := found.aliases.get(alias):
                    return self.version(int(number))
        return None

    def version(self, number: int) -> Version:
        """InputError("unknown_model") if there is none of this number."""
        with self.answering(unknown=f"models:/{self.model}/{number}"):
            found = self.client.get_model_version(self.model, str(number))
            # Aliases stand beside the model: a version read on its own may not know them.
            aliases = self.client.get_registered_model(self.model).aliases
        pointing = tuple(sorted(a for a, v in aliases.items() if int(v) == number))
        return Version(
            number,
            found.tags.get(DIGEST, ""),
            found.run_id or "",
            str(found.source),
            pointing,
            dict(found.tags),
        )

    def reference(self, version: Version) -> str:
        return f"models:/{self.model}/{version.number}"

    def register(self, folder: Path, *, run_id: str, tags: Mapping[str, str]) -> Version:
        """Store a folder's files with a run, and make a version of them that no alias points to."""
        place = f"model_versions/{uuid4().hex[:12]}"
        self.make_model(self.model)
        with self.answering():
            self.client.log_artifacts(run_id, str(folder), place)
            source = f"{self.client.get_run(run_id).info.artifact_uri}/{place}"
            made = self.client.create_model_version(
                self.model, source, run_id, tags=dict(tags), await_creation_for=None
            )
        return self.version(int(made.version))

    def point(self, alias: str, version: Version) -> None:
        """Let an alias point to a version, from one moment to the next."""
        left = f"see whether {alias} points to version {version.number} before you repeat this"
        with self.answering(left=left):
            self.client.set_registered_model_alias(self.model, alias, str(version.number))

    def tag(self, version: Version, tags: Mapping[str, str]) -> None:
        with self.answering():
            for name, value in tags.items():
                self.client.set_model_version_tag(self.model, str(version.number), name, value)

    def add_files(self, version: Version, folder: Path) -> None:
        """Lay a folder's files beside the version's; one of the same name is replaced."""
        with self.answering():
            place = version.source[version.source.index("model_versions/") :]
            self.client.log_artifacts(version.run_id, str(folder), place)

    def download(self, version: Version) -> Path:
        """A folder on this machine with the version's files."""
        from mlflow.artifacts import download_artifacts

        with self.answering(unknown=self.reference(version)):
            source = self.client.get_model_version_download_uri(self.model, str(version.number))
            folder = Path(
                download_artifacts(source, tracking_uri=self.address, registry_uri=self.address)
            )
        if pickles := sorted(f.name for f in folder.rglob("*") if f.suffix in PICKLES):
            raise InputError(
                "invalid_checkpoint",
                f"{self.reference(version)} holds {', '.join(pickles)}, which may run "
                "code when opened; register the model with jobs/promote.py instead",
            )
        return folder

    def has_run(self, run_id: str) -> bool:
        """Whether this MLflow knows the run."""
        from mlflow.exceptions import MlflowException

        with self.answering():
            try:
                self.client.get_run(run_id)
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
                return False
        return True

    def has_no(self, reference: str) -> InputError:
        return InputError(
            "unknown_model",
            f"MLflow at {without_password(self.address)} has no {reference}. Name one of its "
            "versions or aliases, or a checkpoint folder; jobs/promote.py makes a champion",
        )

    def make_model(self, name: str) -> None:
        """A registered model of this name, new or as it is."""
        from mlflow.exceptions import MlflowException

        with self.answering():
            try:
                self.client.create_registered_model(name)
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise

    @contextmanager
    def answering(self, *, unknown: str = "", left: str = UNMOVED) -> Iterator[None]:
        """MLflow's errors as ours. unknown: what it may say that it does not have. left: what to
        tell of the aliases if it does not answer.
        """
        from mlflow.exceptions import MlflowException

        address = without_password(self.address)
        try:
            yield
        except MlflowException as error:
            if unknown and error.error_code == "RESOURCE_DOES_NOT_EXIST":
                raise self.has_no(unknown) from None
            raise _unavailable(address, error, left) from None
        except OSError as error:
            raise _unavailable(address, error, left) from None


def find_version(
    reference: str, settings: TrackingSettings, storage: Path
) -> tuple[ModelRegistry, Version]:
    """The version of models:/NAME@ALIAS or models:/NAME/VERSION, and the registry it lies in."""
    parts = re.fullmatch(r"models:/([^/@]+)(?:@([^/@]+)|/(\d+))", reference)
    if parts is None:
        raise InputError(
            "unknown_model", f"{reference} is neither models:/NAME@ALIAS nor models:/NAME/VERSION"
        )
    name, alias, number = parts.groups()
    registry = ModelRegistry.of(settings, storage, model=name)
    if number is not None:
        return registry, registry.version(int(number))
    if (found := registry.at(alias)) is None:
        raise registry.has_no(reference)
    return registry, found


def _unavailable(address: str, error: Any, left: str) -> InputError:
    return InputError(
        "registry_unavailable",
        f"MLflow at {address} did not do as asked: {without_password(error)}. Mend or start it, or "
        f"change --tracking.uri; {left}",
    )
