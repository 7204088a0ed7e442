"""Slices of many requests through one device: queued, batched, several models side by side."""
