"""The networks; each maps degraded [B, 1, H, W] in 0..1 to Restored(image, auxiliary_loss)."""
