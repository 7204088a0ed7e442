"""Pages that need nothing else: one HTML file, dark where the reader's system is, fit to print."""
