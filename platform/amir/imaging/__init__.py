"""Scans and the files they live in (DICOM, NIfTI)."""
