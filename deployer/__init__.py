"""Gives a research team its own authenticated MLflow tracking server and keeps it healthy."""

__version__ = "0.1.0"
