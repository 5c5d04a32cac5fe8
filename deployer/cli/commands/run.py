"""deployer run: see deployer/operations/foreground.py."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from deployer.cli.ending import Ending, ending
from deployer.cli.options import (
    DEFAULT_TIMEOUT,
    DatabaseFile,
    File,
    MakeBucket,
    OptionalName,
    PasswordFile,
    TakeOver,
    TargetKind,
    TargetOption,
    Timeout,
)
from deployer.cli.progress import note, step_list
from deployer.core.errors import DeployerError, NotReady, UsageError, VerificationFailed

if TYPE_CHECKING:
    from deployer.cli.wanted import WantedServer
    from deployer.operations.create import Created
    from deployer.targets import Target


def command(
    flags: Mapping[str, Any],
    name: OptionalName = None,
    file: File = None,
    target: TargetOption = None,
    password_file: PasswordFile = None,
    database_file: DatabaseFile = None,
    make_bucket: MakeBucket = False,
    take_over: TakeOver = False,
    timeout: Timeout = DEFAULT_TIMEOUT,
) -> None:
    """Run a server in the foreground, proven first; Ctrl-C, SIGTERM or SIGHUP stops it: exit code 0."""
    from deployer.cli.wanted import wanted_server
    from deployer.cli.where import find_target

    if target is TargetKind.kubernetes:
        raise UsageError(
            "`run` keeps a server of this machine in the foreground; on a cluster the cluster keeps it",
            hint="`deployer create --target kubernetes`, or leave --target out",
        )

    def place(wanted: str) -> Target:
        note("Target: this machine (`run` knows no other)")
        return find_target(wanted, TargetKind.local, take_over=take_over, quiet=True)

    asked = wanted_server(name, file, flags, password_file=password_file, database_file=database_file, place=place)
    _run(asked, make_bucket=make_bucket, timeout=timeout)


def _run(asked: WantedServer, *, make_bucket: bool, timeout: float) -> None:
    from deployer.operations.create import create
    from deployer.operations.foreground import end, end_quietly, stay
    from deployer.targets import Deadline
    from deployer.targets.local.foreground import LocalForeground

    foreground, name = LocalForeground(asked.target.name), asked.target.name
    with foreground.hold(), ending() as signals, step_list(asked.changes) as progress:
        ran = asked.target.runtime.observe().state == "running"
        try:
            provided = asked.provided_credentials(make_bucket=make_bucket)
            deadline = Deadline.after(timeout)
            created = create(asked.target, asked.spec, asked.record, asked.password, deadline, progress, provided)
            _tell(asked.target, created, signals)
            by_us = stay(asked.target, foreground, signals.wake, note, progress, whole=created.changed)
        except KeyboardInterrupt:  # before the server was up
            progress.end()
            end(asked.target, progress)
            by_us = True
        except DeployerError as error:  # a foreground command leaves nothing running
            if not ran or isinstance(error, NotReady | VerificationFailed):
                end_quietly(asked.target, progress)
            raise
    note(f"Server {name!r} is stopped{'' if by_us else ', by another deployer'}.")


def _tell(place: Target, created: Created, signals: Ending) -> None:
    from deployer.cli import output
    from deployer.cli.created import fields_of, laptop_line, warn_of_plain_http

    warn_of_plain_http(place, created)
    output.print_report(created.report)
    print(f"\nServer {place.name!r} is running and verified.\n")
    output.print_fields([*fields_of(place, created), ("Laptop", laptop_line(created))])
    print("\nIt runs until this command ends. Its log follows on standard error.")
    sys.stdout.flush()  # the output file of a batch job is read while the job runs
    signals.interrupts = False
