"""Score rows to the paper's tables: by patient, with intervals and tests, as text and as CSV."""
