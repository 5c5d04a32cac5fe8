"""One module a command, each with a function `command`; deployer/cli/app.py lists them."""
