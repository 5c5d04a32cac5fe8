"""HTTP to an MLflow server, as any client would do it; never imports mlflow."""
