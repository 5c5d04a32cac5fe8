"""Decides from the answers of a public address whether it leads to the server: yes, no, or not yet. No I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final

# OpenShift's router collects changes for up to 5 seconds, then reloads HAProxy (openshift/router, RELOAD_INTERVAL).
RELOAD_SECONDS: Final = 10.0
# for a list that the router has already loaded: a single closed connection proves nothing
STEADY_SECONDS: Final = 2.0
# meanwhile, cert-manager answers an ACME challenge
ISSUE_SECONDS: Final = 60.0
_ISSUED: Final = re.compile(r"^(acme\.)?cert-manager\.io/|/tls-acme$|\.certresolver$")


class Answer(Enum):
    """The result of a request: MLflow's answer, a closed connection, an untrusted certificate, or anything else."""

    SERVED = auto()
    CLOSED = auto()
    UNTRUSTED = auto()
    OTHER = auto()


class Verdict(Enum):
    """What an answer means.

    - REACHED: the address leads to the server
    - SHUT_OUT: the allow-list excludes this machine
    - FAILED: waiting does not help
    - AGAIN: the next request decides
    """

    REACHED = auto()
    SHUT_OUT = auto()
    FAILED = auto()
    AGAIN = auto()


@dataclass(frozen=True)
class Course:
    """The answers so far: the last one, since when it has been the same, and whether the router loaded another list.

    `turned` says that the address first served this machine and then closed its connections, or the other way round. So
    the router has loaded another list in between. Times are in seconds of any one clock.
    """

    answer: Answer
    since: float
    turned: bool = False

    def then(self, answer: Answer, now: float) -> Course:
        """Return the course after one more answer."""
        if answer is self.answer:
            return self
        return Course(answer, now, self.turned or {answer, self.answer} == {Answer.SERVED, Answer.CLOSED})


@dataclass(frozen=True)
class Asked:
    """What is known after an answer; times in seconds.

    - `lasted`: how long the answer has been the same
    - `turned`: as in Course
    - `listed`: whether the Route has an allow-list
    - `changed`: the time since this command replaced the allow-list; None if it did not
    """

    answer: Answer
    lasted: float
    turned: bool = False
    listed: bool = False
    changed: float | None = None


def verdict(asked: Asked, certificate_seconds: float) -> Verdict:
    """Return what an answer means. An untrusted certificate may still be replaced within `certificate_seconds`."""
    loaded = asked.turned or (asked.changed is not None and asked.changed >= RELOAD_SECONDS)
    match asked.answer:
        case Answer.SERVED:
            return Verdict.REACHED if asked.changed is None or loaded else Verdict.AGAIN
        case Answer.CLOSED if asked.listed:
            patience = STEADY_SECONDS if loaded else RELOAD_SECONDS
            return Verdict.SHUT_OUT if asked.lasted >= patience else Verdict.AGAIN
        case Answer.UNTRUSTED:
            return Verdict.FAILED if asked.lasted >= certificate_seconds else Verdict.AGAIN
    return Verdict.AGAIN


def is_issued(exposed: Mapping[str, Any]) -> bool:
    """Tell whether an Ingress or Route requests a certificate by annotation (cert-manager.io/docs/usage/ingress)."""
    return any(_ISSUED.search(key) for key in exposed["metadata"].get("annotations") or ())


def certificate_seconds(exposed: Mapping[str, Any] | None) -> float:
    """Return how many seconds an address may show a wrong certificate before it shows the right one.

    An Ingress without an issuer and without a Secret always has its controller's own certificate, so the result is 0.
    All others have their certificate once the controller or router has loaded it.
    """
    if exposed is None:
        return RELOAD_SECONDS
    if is_issued(exposed):
        return ISSUE_SECONDS
    bare = exposed["kind"] == "Ingress" and not any(tls.get("secretName") for tls in exposed["spec"].get("tls") or ())
    return 0.0 if bare else RELOAD_SECONDS
