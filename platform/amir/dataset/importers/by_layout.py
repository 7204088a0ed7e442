"""The importer of each layout."""

from __future__ import annotations

from collections.abc import Callable

from amir.config import ImportSettings
from amir.dataset.cohort import write_cohort
from amir.dataset.importers.bids import import_bids
from amir.dataset.importers.found import Found
from amir.dataset.importers.ixi import import_ixi
from amir.dataset.importers.mayo import import_mayo
from amir.dataset.importers.published import import_published
from amir.errors import InputError

IMPORTERS: dict[str, Callable[[ImportSettings], Found]] = {
    "ixi": lambda settings: import_ixi(settings.root),
    "mayo": lambda settings: import_mayo(settings.root, series=settings.series),
    "bids": lambda settings: import_bids(settings.root, degraded=settings.degraded),
    "published": lambda settings: import_published(settings.root),
}


def import_cohort(settings: ImportSettings) -> Found:
    """Write the cohort file of a collection; an existing one is not overwritten."""
    if settings.out.exists():
        raise InputError("invalid_setting", f"{settings.out} exists; choose another --out")
    found = IMPORTERS[settings.layout](settings)
    write_cohort(settings.out, found.rows)
    return found
