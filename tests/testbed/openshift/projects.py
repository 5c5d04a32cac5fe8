"""Serves project.openshift.io to the API server, which has already authenticated and authorized the user."""

from __future__ import annotations

import json
import re
import ssl
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import urlsplit

from tests.testbed.openshift import project
from tests.testbed.openshift.api import Object, Refused, ask

GROUP = "project.openshift.io"
ROOT = f"/apis/{GROUP}/v1"
NAMESPACES = "/api/v1/namespaces"
RESOURCES = (("projects", "Project", ["get", "list", "delete"]), ("projectrequests", "ProjectRequest", ["create"]))
# verb on a project: the right in the namespace that it needs; `view` has the first, only `admin` has the second
RIGHTS = {
    "get": {"verb": "get", "resource": "namespaces"},
    "delete": {"verb": "create", "group": "rbac.authorization.k8s.io", "resource": "rolebindings"},
}
RESERVED = re.compile(r"(openshift|kubernetes|kube)(-.*)?")
COLLECTIONS = {"LimitRange": "limitranges", "ResourceQuota": "resourcequotas", "RoleBinding": "rolebindings"}


def refused(code: int, reason: str, message: str) -> Refused:
    status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "metadata": {}}
    return Refused({**status, "code": code, "reason": reason, "message": message})


class Projects(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    callers: ClassVar[list[str]]
    one_range_at_a_time: ClassVar[threading.Lock] = threading.Lock()

    def do_GET(self) -> None:
        self._answer(self._read)

    def do_POST(self) -> None:
        self._answer(self._create)

    def do_DELETE(self) -> None:
        self._answer(self._delete)

    def _answer(self, act: Any) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        try:
            code, answer = act(urlsplit(self.path).path, body)
        except Refused as error:
            code, answer = error.code, error.status
        encoded = json.dumps(answer).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(encoded)))
        self.end_headers()
        self.wfile.write(encoded)

    def _user(self) -> tuple[str, list[str]]:
        """Return user and groups from the headers; refuse clients without the aggregation layer's certificate."""
        certificate = self.connection.getpeercert() or {}  # type: ignore[attr-defined]
        names = [value for part in certificate.get("subject", ()) for key, value in part if key == "commonName"]
        if not set(names) & set(self.callers):
            raise refused(401, "Unauthorized", "only the API server's front proxy may ask")
        return self.headers["X-Remote-User"], self.headers.get_all("X-Remote-Group") or []

    def _may(self, verb: str, name: str) -> bool:
        user, groups = self._user()
        attributes = {**RIGHTS[verb], "namespace": name}
        spec = {"user": user, "groups": groups, "resourceAttributes": attributes}
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
        return bool(ask("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)["status"]["allowed"])

    def _named(self, verb: str, path: str) -> str:
        """Return the project of a path if the user has the right; unknown and foreign projects get the same answer."""
        found = re.fullmatch(rf"{ROOT}/projects/([a-z0-9-]+)", path)
        if not found:
            raise refused(404, "NotFound", "the server could not find the requested resource")
        if not self._may(verb, found[1]):
            who = f'User "{self._user()[0]}" cannot {verb} resource "projects" in API group "{GROUP}"'
            message = f'projects.{GROUP} "{found[1]}" is forbidden: {who} in the namespace "{found[1]}"'
            raise refused(403, "Forbidden", message)
        return found[1]

    def _read(self, path: str, _: bytes) -> tuple[int, Object]:
        if path == "/healthz":
            return 200, {}
        self._user()
        if path == ROOT:
            names = [
                {"name": name, "singularName": name[:-1], "namespaced": False, "kind": kind, "verbs": verbs}
                for name, kind, verbs in RESOURCES
            ]
            kind = {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": f"{GROUP}/v1"}
            return 200, {**kind, "resources": names}
        if path == f"{ROOT}/projects":
            listed = ask("GET", NAMESPACES)
            mine = [_project(item) for item in listed["items"] if self._may("get", item["metadata"]["name"])]
            version = listed["metadata"]["resourceVersion"]
            kind = {"kind": "ProjectList", "apiVersion": f"{GROUP}/v1"}
            return 200, {**kind, "metadata": {"resourceVersion": version}, "items": mine}
        return 200, _project(ask("GET", f"{NAMESPACES}/{self._named('get', path)}"))

    def _delete(self, path: str, _: bytes) -> tuple[int, Object]:
        ask("DELETE", f"{NAMESPACES}/{self._named('delete', path)}")
        return 200, {"kind": "Status", "apiVersion": "v1", "status": "Success"}

    def _create(self, path: str, body: bytes) -> tuple[int, Object]:
        user, _ = self._user()
        if path != f"{ROOT}/projectrequests":
            raise refused(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
        request = json.loads(body)
        name, description = request["metadata"]["name"], request.get("description", "")
        if RESERVED.fullmatch(name):
            message = f'project.{GROUP} "{name}" is forbidden: cannot request a project with this name'
            raise refused(403, "Forbidden", message)
        if not project.csc_project(description):
            # the guide says that a project without csc_project cannot be created; Rahti's status and text are unknown
            message = f'project.{GROUP} "{name}" is forbidden: the description has no line `csc_project: NUMBER`'
            raise refused(403, "Forbidden", message)
        with self.one_range_at_a_time:
            uid = project.free_uid(ask("GET", NAMESPACES)["items"])
            wanted = project.namespace(name, user, description, request.get("displayName", ""), uid)
            try:
                made = ask("POST", NAMESPACES, wanted)
            except Refused as error:
                if error.code == 409:
                    raise refused(409, "AlreadyExists", f'project.{GROUP} "{name}" already exists') from error
                raise
        for item in (*project.limits(name), project.admin(name, user)):
            root = "/api/v1" if item["apiVersion"] == "v1" else f"/apis/{item['apiVersion']}"
            ask("POST", f"{root}/namespaces/{name}/{COLLECTIONS[item['kind']]}", item)
        deadline = time.monotonic() + 6
        while not self._may("get", name) and time.monotonic() < deadline:
            time.sleep(0.05)  # the API server reads the RoleBinding a moment later
        return 201, _project(made)


def _project(namespace: Object) -> Object:
    metadata = {key: value for key, value in namespace["metadata"].items() if key != "managedFields"}
    kind = {"kind": "Project", "apiVersion": f"{GROUP}/v1"}
    return {**kind, "metadata": metadata, "spec": namespace["spec"], "status": namespace["status"]}


def main(certificate: str, key: str) -> None:
    found = ask("GET", f"{NAMESPACES}/kube-system/configmaps/extension-apiserver-authentication")["data"]
    trust = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cadata=found["requestheader-client-ca-file"])
    trust.load_cert_chain(certificate, key)
    trust.verify_mode = ssl.CERT_OPTIONAL  # the kubelet's probe has no certificate
    Projects.callers = json.loads(found["requestheader-allowed-names"])
    server = ThreadingHTTPServer(("", 8443), Projects)
    # do the handshake in the request's thread, with the first read
    server.socket = trust.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
