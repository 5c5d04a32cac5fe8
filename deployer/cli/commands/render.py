"""deployer render: the manifests of a server, without a cluster and without Secrets."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from deployer.cli.options import DatabaseFile, Format, OptionalName, Output
from deployer.cli.progress import note
from deployer.core.errors import InvalidSpec, UsageError, any_of, one_line
from deployer.core.platform import PROFILES, profile_of


def command(
    name: OptionalName = None,
    profile: Annotated[
        str | None,
        typer.Option(
            "--profile", metavar="PROFILE", help=f"Kind of cluster; default: that of the spec. {', '.join(PROFILES)}."
        ),
    ] = None,
    file: Annotated[
        str | None, typer.Option("--file", "-f", metavar="FILE", help="Spec file, - for standard input.")
    ] = None,
    namespace: Annotated[
        str, typer.Option("--namespace", "-n", metavar="NAMESPACE", help="Namespace of the manifests.")
    ] = "default",
    host: Annotated[str | None, typer.Option("--host", metavar="HOST", help="Public host name.")] = None,
    credentials_file: Annotated[
        str | None,
        typer.Option("--credentials", metavar="FILE", help="Also write the Secrets to this new file (mode 0600)."),
    ] = None,
    database_file: DatabaseFile = None,
    form: Output = Format.text,
) -> None:
    """Print the Kubernetes manifests of a server."""
    from deployer.cli.effective import effective
    from deployer.cli.output import print_json
    from deployer.cli.spec_options import SPEC_FILE, databases_from, read_limited, spec_from, write_private
    from deployer.cli.where import require_namespace
    from deployer.core import document
    from deployer.core.databases import HINT
    from deployer.core.spec import ExternalDatabase
    from deployer.core.support import require_supported
    from deployer.operations.artifacts import found_keys
    from deployer.operations.render import credentials, manifests

    if profile is not None and profile not in PROFILES:
        raise UsageError(
            f"--profile {one_line(profile)}: there is no such profile", hint=f"it is {any_of([*PROFILES])}"
        )
    require_namespace(namespace)
    if credentials_file in ("", "-"):
        raise UsageError(
            f"--credentials {credentials_file or repr('')}: passwords are written to a new file, never printed",
            hint="give the path of a file that does not exist yet",
        )
    if file == "-" and database_file == "-":
        raise UsageError("only one of the files can come from standard input", hint="put the other into a file")
    databases = databases_from(database_file)
    flags: dict[str, Any] = {"spec.database.type": "external"} if databases else {}
    content = read_limited(file, SPEC_FILE) if file is not None else b""
    spec, source = spec_from(name, file, flags, None, content=content, command="render")
    platform = profile_of(profile, spec.spec.profile)
    if host is not None:
        flags |= {"spec.exposure.host": host}
        spec, source = spec_from(
            name, file, flags, None, content=content, platform=lambda _: platform, command="render"
        )
    try:
        require_supported(spec, platform, source)
    except InvalidSpec as error:
        raise document.located(error, content) from None
    spec = effective(spec, platform, flags, None, file, content)
    documents, guessed = manifests(spec, platform, namespace)
    if guessed:
        note(f"No host is given, so {guessed} stands in its place: say --host NAME before you apply this")
    if credentials_file:
        if isinstance(spec.spec.database, ExternalDatabase) and not databases:
            raise UsageError(
                "--credentials needs --database-file: the Secrets hold the URLs of the databases",
                hint=f"add --database-file FILE; {HINT}",
            )
        keys = {**found_keys(spec, os.environ, Path(os.path.expanduser("~")), note), **databases}
        write_private(Path(credentials_file), credentials(spec, keys))
        note(f"Wrote the Secrets to {credentials_file}")
    else:
        note(f"The Secrets {spec.name}-admin and {spec.name}-server are not printed: --credentials FILE makes them")
    if form is Format.json:
        import yaml

        items = [yaml.safe_load(text) for text in documents.values()]
        print_json({"apiVersion": "v1", "kind": "List", "items": items})
    else:
        print("---\n".join(documents.values()), end="")
