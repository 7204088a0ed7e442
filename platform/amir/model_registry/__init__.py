"""MLflow's registry of models: versions, the aliases that point to them, and who may move those."""
