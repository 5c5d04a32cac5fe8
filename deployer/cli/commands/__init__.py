"""One module per command, each with a function `command`; deployer/cli/app.py lists them."""
