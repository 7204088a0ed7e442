"""The one restoration path that validation, evaluation, batch jobs and serving share."""
