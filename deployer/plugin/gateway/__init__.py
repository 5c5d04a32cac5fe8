"""MLflow's AI gateway: what its endpoints store, call and count."""
