"""Generates `docs/reference/` from the command line and the spec. `make reference` runs it."""
