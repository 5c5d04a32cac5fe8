"""Programs that run inside the MLflow server's Python; they import nothing of deployer."""
