"""Texts for MLflow clients and the people who use them."""
