"""What a user may do: the routes, and the gaps in MLflow's own permission checks."""
