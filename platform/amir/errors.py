"""The one error a user of the platform can cause: what is wrong, with a code that never changes."""

CODES = {
    "unreadable": "the file is not a readable image of a kind we know",
    "wrong_modality": "the image is none of MRI, CT and PET, or not the one that was said",
    "mixed_series": "the files belong to more than one series",
    "inconsistent": "slices differ in size, spacing or orientation",
    "missing_slice": "slices are missing or unevenly spaced",
    "duplicate_position": "two slices lie at the same position",
    "missing_tag": "a header entry that the physical units need is missing",
    "unsupported": "a valid image of a kind that the platform does not handle",
    "not_finite": "the image holds NaN or infinite values",
    "empty": "there is nothing to read, or nothing but air in it",
    "outlier": "the image is unlike what the network was trained on",
    "too_large": "the input exceeds a limit",
    "missing_file": "a file or folder does not exist",
    "invalid_cohort": "the cohort file is wrong or leaks patients between splits",
    "invalid_dataset": "the dataset folder is wrong, incomplete or damaged",
    "invalid_checkpoint": "the checkpoint is wrong, incomplete or damaged",
    "invalid_setting": "a setting is unknown or out of its bounds",
    "run_exists": "the run name is taken",
    "unknown_model": "no model answers to the reference",
    "registry_unavailable": "the model registry does not answer, or not as asked",
    "locked": "somebody else is changing the same thing",
    "too_few_resources": "the cluster is too small for what was asked",
    "disk_full": "the disk has no room left",
}


class InputError(ValueError):
    """Wrong input or settings, found before anything was written.

    code: one of `CODES`; jobs print it and HTTP answers carry it. The message names the thing, the
    value and the remedy.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code

    def __reduce__(self) -> tuple[type["InputError"], tuple[str, str]]:
        # An exception crosses Ray's process boundary by pickle, which by default would pass the
        # message alone.
        return type(self), (self.code, str(self))


class GateError(Exception):
    """A gate said no: all was done as asked, and the answer is a refusal with its reasons."""
