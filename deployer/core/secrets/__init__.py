"""The secrets of a server: which ones it needs, whether they are valid, and how they change."""
