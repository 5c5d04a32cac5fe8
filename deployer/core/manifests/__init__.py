"""Kubernetes objects: how they are rendered, compared and found."""
