"""The operations of deployer, each a visible list of steps; nothing here prints."""
