"""The command line: parses, calls an operation and prints. Each command has a file, imported only when it is called."""
