"""Talks to a Kubernetes API server; the only package that imports the Kubernetes client."""
