"""Sweeps: many short trainings under Ray Tune, recorded so that none is run twice."""
