"""All-in-one medical image restoration: one network for MRI, CT and PET, trained and served on Ray.

The map of the library, read downward; a module imports only what stands above it.

    errors  modality  config              the words everything else is said in
    imaging  degradations  metrics        scanner files, simulated scans, the paper's scores
    phantoms  models  losses              a synthetic cohort, the networks, what they are trained on
    checkpoint  tracking                  what outlives a run
    inference  dataset                    restore a scan; turn scanner files into shards and batches
    cluster  training  evaluation         Ray: connect, train, score

Nothing is imported here: ``import amir`` costs nothing and does nothing.
"""
