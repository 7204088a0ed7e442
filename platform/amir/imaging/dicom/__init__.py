"""DICOM: series read, pixels decoded, derived series written; pydicom is loaded nowhere else."""
