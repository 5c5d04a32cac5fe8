"""Databases and artifacts."""
