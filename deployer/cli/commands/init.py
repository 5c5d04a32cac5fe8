"""deployer init: a commented spec file, made from the schema."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from deployer.cli.options import Name

HEAD: Final = (
    "# A server for `deployer create -f FILE`. Every value here is the default: delete what you do not change.\n"
)


def command(
    name: Name = "mlflow",
    file: Annotated[
        str, typer.Option("--file", "-f", metavar="FILE", help="File to write, - for standard output.")
    ] = "mlflow.yaml",
) -> None:
    """Write a commented spec file."""
    from deployer.cli.spec_options import spec_from, write_private
    from deployer.core.spec.example import example

    spec, _ = spec_from(name, None, {}, None, command="init")
    text = HEAD + example(spec)
    if file == "-":
        print(text, end="")
        return
    write_private(Path(file), text)
    print(f"Wrote {file}. Edit it, then: deployer create -f {file}")
