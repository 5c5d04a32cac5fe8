"""HTTP calls to an MLflow server, as any client makes them; never imports mlflow."""
