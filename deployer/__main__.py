"""`python -m deployer` is the command `deployer`."""

from deployer.cli.app import main

if __name__ == "__main__":
    main()
