"""Proves that a server works and is closed to strangers, and explains each failure."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace

from deployer.core.remedies import Hint
from deployer.tracking import locations
from deployer.tracking.checks import FULL, QUICK, Failed, Probe, Proof, explained
from deployer.tracking.client import Endpoint, Login, Refused, Unreachable, connect
from deployer.tracking.report import Check, Report


def verify(endpoint: Endpoint, login: Login) -> Report:
    """Run the full proof: the server rejects strangers, accepts `login`, and stores a run with an artifact.

    The experiment `deployer-verify` remains; its run is deleted and the artifact is removed.
    """
    report = _run(FULL, endpoint, login)
    return replace(report, warnings=_warnings(endpoint, login)) if report.ok else report


def verify_quickly(endpoint: Endpoint, login: Login) -> Report:
    """Run three reads and no writes: the stores answer, strangers are rejected, `login` is accepted."""
    return _run(QUICK, endpoint, login)


def _warnings(endpoint: Endpoint, login: Login) -> tuple[str, ...]:
    with connect(endpoint, login) as client:
        try:
            return locations.warnings(list(locations.experiments(client)))
        except (Refused, Unreachable) as error:
            return (f"the experiments' artifact locations could not be read: {error}",)


def _run(checks: Sequence[tuple[str, Probe]], endpoint: Endpoint, login: Login) -> Report:
    stranger = Login(login.username, secrets.token_urlsafe(24))
    results: list[Check] = []
    with ExitStack() as stack:
        anonymous, wrong, admin = (stack.enter_context(connect(endpoint, who)) for who in (None, stranger, login))
        proof = Proof(anonymous, wrong, admin, login)
        try:
            for name, probe in checks:
                failed = any(result.ok is False for result in results)
                results.append(Check(name, None, "not tried") if failed else _check(name, probe, proof))
        finally:
            left = _clean_up(proof)
        if left and all(result.ok for result in results):
            results.append(Check("cleaned up", False, left))
    return Report(tuple(results))


def _check(name: str, probe: Probe, proof: Proof) -> Check:
    start = time.monotonic()
    answered = True
    hint: Hint | None = None
    try:
        ok, detail = True, probe(proof)
    except Unreachable as error:
        ok, detail, answered = False, str(error), False
    except Failed as error:
        ok, detail, hint = False, str(error), error.hint
    except Refused as error:
        failed = explained(error)
        ok, detail, hint = False, str(failed), failed.hint
    return Check(name, ok, detail, time.monotonic() - start, answered, hint)


def _clean_up(proof: Proof) -> str:
    """Undo the writes of the checks, also after a failure; return the error of what could not be undone."""
    left = ""
    for undo in reversed(proof.undo):
        try:
            undo()
        except (Refused, Unreachable) as error:
            left = str(error)
    return left
