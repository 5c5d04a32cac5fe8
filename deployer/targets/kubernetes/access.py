"""Reaches a server on a cluster: through its public address, or through a tunnel over the API server."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import MappingProxyType
from typing import Final

from deployer.core.errors import Forbidden, NotReady
from deployer.core.manifests.manifest import HTTP_ROUTE, INGRESS, ROUTE, SECRET, Kind, Manifest
from deployer.core.remedies import Hint, Remedy
from deployer.core.spec.routes import allow_list
from deployer.core.stack.assigned import Assigned
from deployer.core.stack.components import server
from deployer.core.status.admission import http_route_problem, ingress_problem, route_state
from deployer.core.status.reach import (
    STEADY_SECONDS,
    Answer,
    Asked,
    Course,
    Verdict,
    certificate_seconds,
    is_issued,
    verdict,
)
from deployer.kube import objects
from deployer.kube.refusals import UnknownApi
from deployer.kube.session import Session
from deployer.targets import Deadline
from deployer.targets.kubernetes.labels import is_own
from deployer.targets.kubernetes.own_objects import OwnObjects
from deployer.targets.kubernetes.runtime import KubernetesRuntime
from deployer.tracking.client import (
    Client,
    Closed,
    Endpoint,
    Unreachable,
    Untrusted,
    authority_hint,
    private_authority,
)

_POLL_SECONDS: Final = 0.25
# Controllers and DNS take seconds. An address that fails after this time needs a person.
_PATIENCE: Final = 60.0
_EXPOSED: Final = MappingProxyType({"ingress": INGRESS, "gateway": HTTP_ROUTE, "route": ROUTE})
_GATEWAY_ERROR: Final = re.compile(r"answers 50[234]$")


class KubernetesAccess:
    """The addresses of one server."""

    def __init__(
        self, session: Session, runtime: KubernetesRuntime, own: OwnObjects, name: str, note: Callable[[str], None]
    ) -> None:
        self._session = session
        self._runtime = runtime
        self._objects = own
        self._name = name
        self._note = note

    def endpoint(self, assigned: Assigned) -> Endpoint:
        """Return the public address, or the address inside the cluster if there is no public one."""
        if assigned.host:
            return Endpoint(f"https://{assigned.host}", private_authority())
        return Endpoint(f"http://{self._name}.{assigned.namespace}.svc:{assigned.ports['http']}")

    def ready(self, assigned: Assigned) -> bool:  # part of the Protocol
        """Return False; never called, because `observe` reads the readiness from the Deployment."""
        return False

    @contextmanager
    def open(self, assigned: Assigned, deadline: Deadline | None = None) -> Iterator[Endpoint]:
        """Yield the public address, or a local address of a tunnel.

        With a deadline, wait until the public address leads to the server. A tunnel is used if there is no public
        address, or if the Route's allow-list excludes this machine.

        Raises:
            NotReady: the public address does not lead to the server in time.
        """
        if assigned.host:
            endpoint = self.endpoint(assigned)
            if deadline is None and self._lets_in(assigned, endpoint):
                yield endpoint
                return
            if deadline and self._await_address(endpoint, assigned, deadline):
                yield endpoint
                return
            self._note(
                f"this machine is none of those that may connect ({self._allowed(assigned)}): "
                "the address itself is not proven, the server is, through a tunnel"
            )
        from deployer.kube.websockets import tunnel  # noqa: PLC0415  # slow import that most commands do not need

        pod = self._runtime.newest_pod()["metadata"]["name"]
        with tunnel(self._session, pod, assigned.ports["http"]) as port:
            yield Endpoint(f"http://127.0.0.1:{port}")

    def _allowed(self, assigned: Assigned) -> str | None:
        """Return the allow-list of an admitted Route, None if everybody may connect."""
        route = self._own(ROUTE) if assigned.exposure == "route" else None
        return allow_list(route) if route and route_state(route).host else None

    def _lets_in(self, assigned: Assigned, endpoint: Endpoint) -> bool:
        """Tell whether the Route's allow-list, which was not just changed, admits this machine."""
        if self._allowed(assigned) is None:
            return True
        limit = Deadline.after(STEADY_SECONDS)
        while _ask(endpoint)[0] is Answer.CLOSED:
            if not limit.left:
                return False
            time.sleep(_POLL_SECONDS)
        return True

    def _await_address(self, endpoint: Endpoint, assigned: Assigned, deadline: Deadline) -> bool:
        """Return True if the address leads to the server, False if the Route's allow-list excludes this machine.

        Raises:
            NotReady: neither is certain in time.
        """
        limit = Deadline.after(min(_PATIENCE, deadline.left))
        listed = self._allowed(assigned) is not None
        course: Course | None = None
        told = False
        while True:
            answer, said = _ask(endpoint)
            said = "lets this machine in as before the change of allowFrom" if answer is Answer.SERVED else said
            now = time.monotonic()
            course = course.then(answer, now) if course else Course(answer, now)
            asked = Asked(answer, now - course.since, course.turned, listed, self._objects.list_age)
            found = verdict(asked, certificate_seconds(self._exposed(assigned)) if answer is Answer.UNTRUSTED else 0.0)
            if found is Verdict.REACHED or (answer is Answer.SERVED and not limit.left):
                self._note_unseen(asked)
                return True
            if found is Verdict.SHUT_OUT:
                return False
            if found is Verdict.FAILED or not limit.left:
                raise self._not_ready(endpoint, assigned, said)
            if not told and limit.left < _PATIENCE - 5:
                told = True
                self._note(f"waiting for {endpoint.url}: {said}")
            time.sleep(_POLL_SECONDS)

    def _note_unseen(self, asked: Asked) -> None:
        if asked.changed is not None and not asked.turned:
            self._note(
                "this machine may connect, as before the change of allowFrom: it cannot see the router take the "
                f"change over, which takes seconds; {asked.changed:.0f} have passed"
            )

    def _not_ready(self, endpoint: Endpoint, assigned: Assigned, said: str) -> NotReady:
        cause, hint = self._diagnosis(assigned.exposure, said)
        words = said if endpoint.url in said else f"{endpoint.url} {said}"
        return NotReady(f"the server is ready, but its address is not: {words}{cause}", hint=hint)

    def _exposed(self, assigned: Assigned) -> Manifest | None:
        """Return the object behind the public address, None if it cannot be read."""
        kind = _EXPOSED.get(assigned.exposure or "")
        return self._own(kind) if kind else None

    def _diagnosis(self, exposure: str | None, state: str) -> tuple[str, Hint]:
        """Return what the cluster reports about the object behind the address, and a hint."""
        problem = None
        if exposure == "ingress" and (ingress := self._own(INGRESS)):
            # a controller that answers has admitted the Ingress, even if it writes no status
            problem = None if _GATEWAY_ERROR.search(state) else ingress_problem(ingress)
            if secret := self._missing_secret(ingress):
                return f"; Secret {secret} for its TLS is not there", "`kubectl create secret tls` makes it"
            if problem is None and "certificate" in state:
                return "", _certificate_hint(ingress)
        elif exposure == "gateway" and (http_route := self._own(HTTP_ROUTE)):
            problem = http_route_problem(http_route)
        elif exposure == "route":
            return self._route_diagnosis(state)
        return (f"; {problem.reason}", problem.hint) if problem else ("", _hint(state))

    def _route_diagnosis(self, said: str) -> tuple[str, Hint]:
        route = self._own(ROUTE)
        if route is None:
            return "; its Route is gone", Remedy.MAKE_ROUTE.of(name=self._name)
        state = route_state(route)
        if state.problem:
            return f"; {state.problem.reason}", state.problem.hint
        if not state.host:
            return "; no router has taken its Route", Remedy.ASK_OR_CHOOSE_EXPOSURE
        if "certificate" in said:
            return "", (
                "the router has none for a host of your own: docs/openshift.md says how to give the Route one; "
                f"{authority_hint()}"
            )
        if "closes the connection" in said and allow_list(route):
            return "", Remedy.CHECK_ALLOW_LIST
        if "cannot be reached" in said and state.cname:
            return "", f"in its DNS, {state.host} must be a CNAME of {state.cname}; then type the same command"
        return "", _hint(said)

    def _own(self, kind: Kind) -> Manifest | None:
        try:
            live = objects.get(self._session, kind, self._name)
        except (Forbidden, UnknownApi):
            return None
        return live if live and is_own(live, self._name) else None

    def _missing_secret(self, ingress: Manifest) -> str | None:
        for tls in ingress["spec"].get("tls") or ():
            name = tls.get("secretName")
            try:
                if name and objects.get(self._session, SECRET, name) is None:
                    return str(name)
            except Forbidden:
                continue
        return None


def _ask(endpoint: Endpoint) -> tuple[Answer, str]:
    """Send one request over a new connection; return the kind of answer and a description.

    A router may apply the allow-list that was valid when a connection was opened.
    """
    client = Client(endpoint, seconds=5.0)
    try:
        status, body = client.status(server.ALIVE_PATH.lstrip("/"))
    except Closed as error:
        return Answer.CLOSED, str(error)
    except Untrusted as error:
        return Answer.UNTRUSTED, str(error)
    except Unreachable as error:
        return Answer.OTHER, str(error)
    finally:
        client.close()
    # a 403 counts as a response of MLflow; the proof then explains the reason
    served = status == 403 or (status == 200 and body.strip() == "OK")
    return Answer.SERVED if served else Answer.OTHER, f"answers {status}"


def _certificate_hint(ingress: Manifest) -> Hint:
    """Return a hint about the certificate of an Ingress."""
    if is_issued(ingress):
        return (
            f"a certificate that cert-manager makes may take minutes: type the same command again; {authority_hint()}"
        )
    return Remedy.NAME_CERTIFICATE.of(authority=authority_hint())


def _hint(state: str) -> Hint:
    if _GATEWAY_ERROR.search(state) or "takes connections" in state:
        return Remedy.ADMIT_CONTROLLER
    if "cannot be reached" in state or "in time" in state:
        return "does the host name lead to the cluster's ingress? ask who runs its DNS, then type the same command"
    if "certificate" in state:
        return f"ask who runs the Gateway for its certificate; {authority_hint()}"
    return "what serves this address is not the server: is the host name another's? is the class or Gateway right?"
