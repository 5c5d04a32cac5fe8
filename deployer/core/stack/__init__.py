"""The parts of a server that a spec leads to, independent of the target."""
