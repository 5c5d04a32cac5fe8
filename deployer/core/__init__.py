"""Pure decisions about a server. Functions take and return values; no I/O, clock, randomness or environment."""
