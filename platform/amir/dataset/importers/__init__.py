"""Public collections and common folder layouts to cohort files: one importer each."""
