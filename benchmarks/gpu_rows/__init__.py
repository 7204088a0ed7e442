"""What `benchmarks.gpu` measures, a file for each question."""
