"""Compares this project with `mlflow server` and usual manifests; run `python -m bench` in the checkout."""
