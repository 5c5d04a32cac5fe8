"""deployer init: a commented spec file, made from the schema."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deployer.cli.options import Name


def command(
    name: Name = "mlflow",
    file: Annotated[
        str, typer.Option("--file", "-f", metavar="FILE", help="File to write, - for standard output.")
    ] = "mlflow.yaml",
) -> None:
    """Write a commented spec file."""
    from deployer.cli.spec_options import spec_from, write_private
    from deployer.core.example import example

    spec, _ = spec_from(name, None, {}, None, command="init")
    if file == "-":
        print(example(spec), end="")
        return
    write_private(Path(file), example(spec))
    print(f"Wrote {file}. Edit it, then: deployer create -f {file}")
