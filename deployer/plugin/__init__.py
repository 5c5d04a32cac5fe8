"""Programs that run in the MLflow server's Python; they do not import deployer."""
