"""Optimizer, step, loop, and their wiring to Ray Train."""
