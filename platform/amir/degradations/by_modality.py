"""Which simulated degradation belongs to which scanner."""

from __future__ import annotations

from collections.abc import Callable

from amir.degradations.kspace import lower_resolution
from amir.degradations.low_count import thin_counts
from amir.degradations.low_dose import lower_dose
from amir.degradations.outcome import Degraded
from amir.modality import Modality

# degrade(slices, *, spacing_mm, seeds, **options): slices float32 [n, H, W], axial, in physical
# units (a.u., HU, SUV); spacing_mm of (row, column, slice); one seed per slice; options are the
# modality's own.
DEGRADATIONS: dict[Modality, Callable[..., Degraded]] = {
    Modality.MRI: lower_resolution,
    Modality.CT: lower_dose,
    Modality.PET: thin_counts,
}
