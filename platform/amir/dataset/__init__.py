"""Scanner files to shards, shards to batches."""
