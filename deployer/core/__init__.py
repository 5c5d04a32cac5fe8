"""Pure decisions about a server: values in, values out; no I/O, clock, randomness or environment in here."""
