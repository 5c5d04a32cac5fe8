"""External databases: checks their URLs and tries them before they replace others; never shows them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Final, TypeVar

from deployer.catalogue import catalogue
from deployer.core.errors import (
    Conflict,
    DeployerError,
    Forbidden,
    NotReady,
    ServerRefused,
    UsageError,
    VerificationFailed,
)
from deployer.core.remedies import Remedy
from deployer.core.secrets.databases import DATABASES, HINT, Database, place, restored
from deployer.core.secrets.references import SecretRef
from deployer.core.spec.schema import ExternalDatabase, Spec
from deployer.core.stack.record import Record
from deployer.operations.steps import Progress
from deployer.targets import Deadline, Program, Target

TRIAL: Final = "trial.py"
_Result = TypeVar("_Result")


def require_databases(target: Target, before: Record | None, spec: Spec, given: Mapping[SecretRef, str]) -> None:
    """Check the databases that a server would use: the URLs in `given`, else the stored ones.

    Raises:
        UsageError: a URL is missing.
        Conflict: the server was proven with another database, and would lose its data.
    """
    proven = before is not None and bool(before.fingerprints)
    if before and proven and before.spec.spec.database.type != spec.spec.database.type:
        raise Conflict(
            "the server's runs and users stay where they were first stored; deployer does not move them",
            hint=Remedy.KEEP_DATABASE,
        )
    if not isinstance(spec.spec.database, ExternalDatabase):
        return
    stored = target.store.secrets()
    values = stored.values if stored else {}
    if any(ref not in given and ref not in values for ref in DATABASES.values()):
        raise UsageError(
            f"server {target.name!r} uses databases that somebody else runs, and their URLs are not known here",
            hint=Remedy.GIVE_DATABASES.of(server=target.ref, lines=HINT),
        )
    for name, ref in DATABASES.items():
        if proven and ref in given and ref in values and place(given[ref]) != place(values[ref]):
            raise Conflict(
                f"the {name} URL leads to another database than the one that has the server's data; "
                "nothing was changed",
                hint="only user, password and encryption can be exchanged; make another server for other databases",
            )


def try_out(
    target: Target, before: Record | None, given: Mapping[SecretRef, str], deadline: Deadline, progress: Progress
) -> None:
    """Try new URLs before anything changes: for a proven server from where the server runs.

    For a new server on this machine, the URLs are tried from here without the server's environment, because its
    installation takes a minute. In all other cases the start of the server tries them.

    Raises:
        ServerRefused: the URLs do not work; the message contains the database's response.
    """
    if not given.keys() & set(DATABASES.values()):
        return
    if before is None or not before.fingerprints:
        try_from_here(target, given)
        return
    stored = target.store.secrets()
    if stored is None:
        return
    new = {name: given[ref] for name, ref in DATABASES.items() if ref in given and given[ref] != stored.values.get(ref)}
    for name in new:
        progress.note(f"Change: the URL of the {name} database")
    if not new or target.runtime.observe().state != "running":
        return
    stack = target.stack(before.spec, before.assigned)
    work = Program(catalogue().programs[TRIAL], json.dumps(new) + "\n")
    try:
        target.runtime.execute(stack, stored, work, deadline)
    except ServerRefused as error:
        raise ServerRefused(
            f"the new URLs do not work where the server runs; nothing was changed: {error.message}",
            hint="correct the file, then type the same command again",
        ) from None
    except (Forbidden, NotReady) as error:
        progress.note(f"Not tried beforehand: {error.message}")


def try_from_here(target: Target, given: Mapping[SecretRef, str]) -> None:
    """Try to log in to the databases of a new server on this machine; a cluster has another network.

    Raises:
        ServerRefused: a login fails; the message contains the database's response.
    """
    if not target.capabilities.shares_network:
        return
    from deployer.storage.postgresql import login_problem  # noqa: PLC0415  # loads a driver

    asked = {name: Database.of(given[ref]) for name, ref in DATABASES.items() if ref in given}
    problems = {name: problem for name, database in asked.items() if (problem := login_problem(database))}
    if problems:
        lines = "".join(f"\n  {name}: {problem}" for name, problem in problems.items())
        raise ServerRefused(
            f"the URLs of the databases do not work from this machine; nothing was made{lines}",
            hint="correct the file, then type the same command again",
        )


def or_as_before(
    target: Target, work: Callable[[], _Result], again: Callable[[], object], progress: Progress
) -> _Result:
    """Run `work`; if the server cannot be proven with new URLs, restore the proven URLs and call `again`.

    Raises:
        DeployerError: the error of `work`; the message also says whether the server runs with the old URLs again.
    """
    try:
        return work()
    except (ServerRefused, NotReady, VerificationFailed) as error:
        stored = target.store.secrets()
        old = restored(stored.values) if stored else {}
        if not old:
            raise
        target.store.patch_secrets(old)
        progress.note(f"The server is not proven with the new URLs, and gets the old ones back: {error.message}")
        try:
            again()
        except DeployerError as second:
            outcome = f"the old URLs are stored again, but are not proven either: {second.message}"
        else:
            outcome = "it runs with the old URLs again"
        raise type(error)(
            f"the server is not proven with the new URLs of its databases: {error.message}\n  {outcome}",
            hint="correct the file, then type the same command again",
        ) from None
