"""deployer verify: the complete proof, for a server of deployer or any other MLflow server."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from deployer.cli.login_options import require_no_place
from deployer.cli.options import Context, Format, Namespace, OptionalName, Output, TargetOption, Timeout
from deployer.cli.progress import note
from deployer.core.errors import NotReady, UsageError

if TYPE_CHECKING:
    from deployer.tracking.client import Login


def command(
    name: OptionalName = None,
    target: TargetOption = None,
    namespace: Namespace = None,
    context: Context = None,
    tracking_uri: Annotated[
        str | None,
        typer.Option(
            "--tracking-uri",
            metavar="URL",
            help="Address of any MLflow server; login from MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD.",
        ),
    ] = None,
    timeout: Timeout = 120,
    form: Output = Format.text,
) -> None:
    """Prove that a server works and is closed to strangers; exit code 1 when it does not."""
    from deployer.cli import output
    from deployer.cli.where import find_target
    from deployer.operations.away import require_reach
    from deployer.operations.logins import login_of, recovery
    from deployer.operations.records import endpoint_of, require_record
    from deployer.targets import Deadline
    from deployer.tracking.client import Endpoint, private_authority
    from deployer.tracking.verify import verify

    place = None
    if tracking_uri is not None:
        if name is not None:
            raise UsageError(f"{name} and --tracking-uri are two servers", hint="leave one out")
        require_no_place(target, namespace, context)
        endpoint, login = Endpoint(tracking_uri.rstrip("/"), private_authority()), _login_from_environment(tracking_uri)
        report = verify(endpoint, login)
    else:
        name = "mlflow" if name is None else name
        place = find_target(name, target, namespace, context)
        live = place.runtime.observe()
        if live.state == "elsewhere":
            require_reach(place)  # a server that listens on the network is proven from here
            note(f"Server {name!r} is on another machine: {live.detail}")
        elif live.state != "running":
            endpoint_of(place)
            raise NotReady(f"server {name!r} does not run: {live.detail}", hint=f"`deployer start {name}` starts it")
        endpoint, login = endpoint_of(place), login_of(place)
        record = require_record(place)
        with place.access.open(record.assigned, Deadline.after(timeout)) as reachable:
            report = verify(reachable, login)
    if form is Format.json:
        output.print_json(
            {
                "address": endpoint.url,
                "ok": report.ok,
                "verified": output.report_document(report),
                "warnings": list(report.warnings),
            }
        )
    else:
        output.print_report(report)
    report.require(partial(recovery, place) if place else None)


def _login_from_environment(uri: str) -> Login:
    from deployer.tracking.client import Login

    if not uri.startswith(("http://", "https://")) or "@" in uri:
        raise UsageError(
            "--tracking-uri: that is not a server's address, or holds a login",
            hint="give one such as https://mlflow.example.org",
        )
    try:
        return Login(os.environ["MLFLOW_TRACKING_USERNAME"], os.environ["MLFLOW_TRACKING_PASSWORD"])
    except KeyError as missing:
        raise UsageError(f"--tracking-uri needs {missing.args[0]}, which is not set", hint="export it") from None
