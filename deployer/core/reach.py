"""Decides from a public address' answers whether it leads to the server: now, never, or perhaps later. No I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final

# OpenShift's router gathers changes for up to 5 seconds and then reloads HAProxy (openshift/router, RELOAD_INTERVAL).
RELOAD_SECONDS: Final = 10.0
# for a list that has been in force for a while: a single broken connection proves nothing
STEADY_SECONDS: Final = 2.0
# cert-manager answers an ACME challenge meanwhile
ISSUE_SECONDS: Final = 60.0
_ISSUED: Final = re.compile(r"^(acme\.)?cert-manager\.io/|/tls-acme$|\.certresolver$")


class Answer(Enum):
    """What comes of a request: MLflow's answer, a closed connection, an untrusted certificate, or anything else."""

    SERVED = auto()
    CLOSED = auto()
    UNTRUSTED = auto()
    OTHER = auto()


class Verdict(Enum):
    """REACHED: the address leads to the server. SHUT_OUT: the list leaves this machine out. FAILED: do not wait."""

    REACHED = auto()
    SHUT_OUT = auto()
    FAILED = auto()
    AGAIN = auto()


@dataclass(frozen=True)
class Course:
    """The answers so far: the last one, the time since which it has been coming, and whether the list has turned.

    `turned`: the address let this machine in and then closed its connections, or the other way round. So the router
    has loaded another list meanwhile. Times are in seconds of any one clock.
    """

    answer: Answer
    since: float
    turned: bool = False

    def then(self, answer: Answer, now: float) -> Course:
        """Return the course with one more answer."""
        if answer is self.answer:
            return self
        return Course(answer, now, self.turned or {answer, self.answer} == {Answer.SERVED, Answer.CLOSED})


@dataclass(frozen=True)
class Asked:
    """What is known when an answer has come; times in seconds.

    `lasted`: for how long this answer has been coming. `turned` is that of the Course. `listed`: the Route has an
    allow-list. `changed`: how long ago this command replaced that list, None where it did not.
    """

    answer: Answer
    lasted: float
    turned: bool = False
    listed: bool = False
    changed: float | None = None


def verdict(asked: Asked, certificate_seconds: float) -> Verdict:
    """Return what an answer means; an untrusted certificate may be replaced within `certificate_seconds`."""
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
    """Tell whether an Ingress or Route asks for a certificate to be made (cert-manager.io/docs/usage/ingress)."""
    return any(_ISSUED.search(key) for key in exposed["metadata"].get("annotations") or ())


def certificate_seconds(exposed: Mapping[str, Any] | None) -> float:
    """Return how long an address may show a wrong certificate before it shows the right one.

    An Ingress without an issuer and without a Secret has its controller's own certificate, now and later. Others
    have theirs as soon as the controller or router has loaded it.
    """
    if exposed is None:
        return RELOAD_SECONDS
    if is_issued(exposed):
        return ISSUE_SECONDS
    bare = exposed["kind"] == "Ingress" and not any(tls.get("secretName") for tls in exposed["spec"].get("tls") or ())
    return 0.0 if bare else RELOAD_SECONDS
