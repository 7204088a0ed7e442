"""What a path on the command line asks for: one errand per file or DICOM series below it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from amir.client.job import Job
from amir.client.media_types import content_type, is_taken
from amir.client.saving import check_is_new, new_path
from amir.client.series import dicom_files, is_dicom, unzip, zipped


@dataclass(frozen=True)
class Errand:
    """One thing to restore. files: one, or those of a DICOM series, sent as one archive.

    out: of one file a file, of a series a folder. name: what to call it on the screen.
    """

    name: str
    files: tuple[Path, ...]
    out: Path
    is_series: bool = False

    @contextmanager
    def upload(self) -> Iterator[Path]:
        """The file to send."""
        if not self.is_series:
            yield self.files[0]
            return
        with zipped(list(self.files)) as archive:
            yield archive

    def save(self, job: Job) -> None:
        """The result to `out`, whole or not at all."""
        if not self.is_series:
            job.save(self.out)
            return
        with new_path(self.out) as folder:
            archive = folder.with_name(f"{folder.name}.zip")
            try:
                job.download(archive)
                unzip(archive, folder)
            finally:
                archive.unlink(missing_ok=True)


def errands_of(source: Path, out: Path, *, resume: bool = False) -> list[Errand]:
    """What there is to do for a file or folder, in the order of the names.

    A folder with DICOM files in it is a series; other files are restored one by one, and folders
    below it keep their names. resume: leave out what lies in `out` already. FileNotFoundError,
    FileExistsError or ValueError say what is wrong with the paths.
    """
    if not source.exists():
        raise FileNotFoundError(f"{source} does not exist")
    found = list(_below(source, out)) if source.is_dir() else [_of_file(source, out)]
    if not found:
        raise ValueError(f"{source} holds no file that the service takes")
    if resume:
        return [errand for errand in found if not errand.out.exists()]
    for errand in found:
        check_is_new(errand.out)
    return found


def _of_file(path: Path, out: Path) -> Errand:
    content_type(path)
    return Errand(path.name, (path,), out / path.name if out.is_dir() else out)


def _below(folder: Path, out: Path) -> Iterator[Errand]:
    slices = dicom_files(folder)
    others = [
        path
        for path in sorted(folder.iterdir())
        if path.is_dir() or (is_taken(path) and not is_dicom(path))
    ]
    if slices:
        # Beside other results a series needs a folder of its own.
        place = out / folder.name if others else out
        yield Errand(folder.name, tuple(slices), place, is_series=True)
    for path in others:
        if path.is_dir():
            yield from _below(path, out / path.name)
        else:
            yield Errand(path.name, (path,), out / path.name)
