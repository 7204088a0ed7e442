"""What counts as air, where nothing can be restored."""

AIR = 0.02
"""A voxel below this share of the range of training."""
