"""Deliberate breaks of the product, each with the tests that must fail; see README.md in this folder."""
