"""Processes, threads, connections and the log."""
