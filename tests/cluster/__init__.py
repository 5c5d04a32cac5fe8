"""Tests against a real Kubernetes cluster, and the cluster itself."""
