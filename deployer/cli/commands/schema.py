"""deployer schema: the JSON Schema of a spec file, for editors and checks."""

from __future__ import annotations


def command() -> None:
    """Print the JSON Schema of a spec file."""
    from deployer.cli.output import print_json
    from deployer.core.spec import json_schema

    print_json(json_schema())
