"""F15: archives that attack whoever unpacks them."""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.fault_rows.attacked import attacked, code_of, send, sound_files
from benchmarks.fault_rows.outcome import Outcome
from benchmarks.mutation.hostile_archives import hostile_archives
from benchmarks.mutation.packed import unzipped
from benchmarks.small_service import SmallService

TARGET = "50 and more cases all 4xx, nothing written outside"


def run(*, quick: bool) -> Outcome:
    """quick makes no difference: it takes seconds."""
    with attacked() as service:
        return check(service)


def check(service: SmallService) -> Outcome:
    [series] = [unzipped(one.content) for one in sound_files() if one.name == "CT.zip"]
    archives, accepted = hostile_archives(series), []
    before = _files_around(service.folder)
    for name, content in archives.items():
        answer = send(service, content)
        if not 400 <= answer.status_code < 500:
            accepted.append(f"{name}: {answer.status_code} {code_of(answer)}")
    left = service.files_left()
    written = sorted(_files_around(service.folder) - before)
    figure = (
        f"{len(archives)} archives, not refused: {', '.join(accepted) or 'none'}; files left "
        f"{len(left)}, written elsewhere {len(written)}"
    )
    return Outcome(service.is_alive() and not accepted and not left and not written, figure)


def _files_around(folder: Path) -> set[str]:
    """Beside the uploads, and where absolute names lead."""
    temporary = Path(tempfile.gettempdir())
    found = [*folder.parent.rglob("escaped*"), *temporary.glob("escaped*")]
    return {str(path) for path in [*found, *Path("/etc/cron.d").glob("escaped*")]}
