"""Reaches a server on a cluster: by its public address, or by a tunnel through the API server."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from deployer.core.assigned import Assigned
from deployer.core.components import server
from deployer.core.errors import Forbidden, NotReady
from deployer.core.manifest import HTTP_ROUTE, INGRESS, ROUTE, SECRET, Kind, Manifest
from deployer.core.routes import ALLOW_LISTS
from deployer.core.readiness import http_route_problem, ingress_problem, route_state
from deployer.kube import objects
from deployer.kube.refusals import UnknownApi
from deployer.kube.session import Session
from deployer.targets import Deadline
from deployer.targets.kubernetes.runtime import KubernetesRuntime
from deployer.targets.kubernetes.store import is_own
from deployer.tracking.client import Client, Closed, Endpoint, Unreachable, private_authority

_POLL_SECONDS: Final = 0.25
# Controllers and DNS take seconds; what does not answer after this needs a person.
_PATIENCE: Final = 60.0
# a router closes the connection of whom it does not let in: nothing else tells that from a router that is not ready
_CLOSED_TRIES: Final = 8
_GATEWAY_ERROR: Final = re.compile(r"answers 50[234]$")


class KubernetesAccess:
    """One server's addresses."""

    def __init__(self, session: Session, runtime: KubernetesRuntime, name: str, note: Callable[[str], None]) -> None:
        self._session = session
        self._runtime = runtime
        self._name = name
        self._note = note

    def endpoint(self, assigned: Assigned) -> Endpoint:
        """Return the public address, or the one inside the cluster where there is none."""
        if assigned.host:
            return Endpoint(f"https://{assigned.host}", private_authority())
        return Endpoint(f"http://{self._name}.{assigned.namespace}.svc:{assigned.ports['http']}")

    def ready(self, assigned: Assigned) -> bool:  # part of the seam
        """Never asked: the cluster itself knows."""
        return False

    @contextmanager
    def open(self, assigned: Assigned, deadline: Deadline | None = None) -> Iterator[Endpoint]:
        """Yield the public address, with a deadline once it leads to the server.

        A tunnel where there is none, or where this machine is not among those that may reach it.
        """
        if assigned.host:
            endpoint = self.endpoint(assigned)
            allowed = self._allowed(assigned, endpoint)
            if allowed is None:
                if deadline:
                    self._await_address(endpoint, assigned.exposure, deadline)
                yield endpoint
                return
            self._note(
                f"this machine is none of those that may connect ({allowed}): "
                "the address itself is not proven, the server is, through a tunnel"
            )
        from deployer.kube.websockets import tunnel  # noqa: PLC0415  # loads what most commands never need

        pod = self._runtime.newest_pod()["metadata"]["name"]
        with tunnel(self._session, pod, assigned.ports["http"]) as port:
            yield Endpoint(f"http://127.0.0.1:{port}")

    def _allowed(self, assigned: Assigned, endpoint: Endpoint) -> str | None:
        """Return the networks that an admitted Route lets in where it does not let this machine in, else None."""
        route = self._own(ROUTE) if assigned.exposure == "route" else None
        annotations = ((route or {}).get("metadata") or {}).get("annotations") or {}
        listed = next((text for key, text in annotations.items() if key in ALLOW_LISTS), None)
        if route is None or listed is None or not route_state(route).host:
            return None
        client = Client(endpoint, seconds=5.0)
        try:
            for _ in range(_CLOSED_TRIES):
                try:
                    client.status(server.ALIVE_PATH.lstrip("/"))
                except Closed:
                    time.sleep(_POLL_SECONDS)  # the router may not have looked at the Route yet
                except Unreachable:
                    return None
                else:
                    return None
        finally:
            client.close()
        return str(listed)

    def _await_address(self, endpoint: Endpoint, exposure: str | None, deadline: Deadline) -> None:
        limit = Deadline.after(min(_PATIENCE, deadline.left))
        client = Client(endpoint, seconds=5.0)
        told = False
        try:
            while True:
                try:
                    status, body = client.status(server.ALIVE_PATH.lstrip("/"))
                    if status == 200 and body.strip() == "OK":
                        return
                    if status == 403:  # MLflow itself answers: what is wrong with it the proof says best
                        return
                    state = f"answers {status}"
                except Unreachable as error:
                    state = str(error)
                if not limit.left:
                    cause, hint = self._diagnosis(exposure, state)
                    raise NotReady(
                        f"the server is ready, but its address is not: {endpoint.url} {state}{cause}", hint=hint
                    )
                if not told and limit.left < _PATIENCE - 5:
                    told = True
                    self._note(f"waiting for {endpoint.url}: {state}")
                time.sleep(_POLL_SECONDS)
        finally:
            client.close()

    def _diagnosis(self, exposure: str | None, state: str) -> tuple[str, str]:
        """Return what the cluster says of the object behind the address, and what a person can do."""
        problem = None
        if exposure == "ingress" and (ingress := self._own(INGRESS)):
            # a controller that answers has taken it, be it that it writes no status
            problem = None if _GATEWAY_ERROR.search(state) else ingress_problem(ingress)
            if secret := self._missing_secret(ingress):
                return f"; Secret {secret} for its TLS is not there", "`kubectl create secret tls` makes it"
        elif exposure == "gateway" and (http_route := self._own(HTTP_ROUTE)):
            problem = http_route_problem(http_route)
        elif exposure == "route":
            return self._route_diagnosis(state)
        return (f"; {problem.reason}", problem.hint) if problem else ("", _hint(state))

    def _route_diagnosis(self, said: str) -> tuple[str, str]:
        route = self._own(ROUTE)
        if route is None:
            return "; its Route is gone", f"`deployer create {self._name}` makes it anew"
        state = route_state(route)
        if state.problem:
            return f"; {state.problem.reason}", state.problem.hint
        if not state.host:
            return "; no router has taken its Route", "ask who runs the cluster, or choose another way with --expose"
        if "certificate" in said:
            return "", (
                "the router has none for a host of your own: docs/openshift.md says how to give the Route one; "
                "for a private authority set SSL_CERT_FILE to its certificate"
            )
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


def _hint(state: str) -> str:
    if _GATEWAY_ERROR.search(state) or "takes connections" in state:
        return (
            "the ingress controller cannot reach the pod: the NetworkPolicy admits one namespace only; "
            "set spec.networkPolicy.ingressNamespace (--ingress-namespace) to the one where the controller runs"
        )
    if "cannot be reached" in state or "in time" in state:
        return "does the host name lead to the cluster's ingress? ask who runs its DNS, then type the same command"
    if "certificate" in state:
        return (
            "a certificate that cert-manager makes may take minutes: type the same command again; without one, name a "
            "TLS secret or an issuer in the spec; for a private authority set SSL_CERT_FILE to its certificate"
        )
    return "what serves this address is not the server: is the host name another's? is the class or Gateway right?"
