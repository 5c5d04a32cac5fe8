"""Deliberate breaks of the product, each with the tests that must notice; see README.md in this folder."""
