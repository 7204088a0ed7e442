"""Scores of test slices, the paper's tables, and pictures."""
