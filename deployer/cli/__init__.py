"""The command line: parse, call an operation, print. One file a command; each is imported only when it is called."""
