"""What deployer does, each operation a visible list of steps; nothing in here prints."""
