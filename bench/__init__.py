"""Measures this project against what its users have today; run as `python -m bench` from the checkout."""
