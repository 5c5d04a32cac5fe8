"""`deployer.kube` runs commands in pods, opens tunnels to pods and uses a pod's credentials."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from deployer.core.errors import Forbidden, NotReady
from deployer.kube import objects
from deployer.kube.refusals import Rejected, Vanished
from deployer.kube.session import Session, connect
from deployer.kube.websockets import run, tunnel
from tests.cluster.pods import pod, ready
from tests.support.machine import DEPLOYER
from tests.testbed.cluster import Cluster

MEBIBYTES = 20
# serves /tmp, and answers a POST with the digest of its body
SERVER = """
import functools, hashlib, http.server
class Handler(http.server.SimpleHTTPRequestHandler):
    def do_POST(self):
        digest = hashlib.sha256(self.rfile.read(int(self.headers["Content-Length"]))).hexdigest().encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(digest)))
        self.end_headers()
        self.wfile.write(digest)
http.server.ThreadingHTTPServer(("", 8080), functools.partial(Handler, directory="/tmp")).serve_forever()
"""


@pytest.fixture
def session(cluster: Cluster, namespace: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    """An ordinary admin's session in a namespace with a pod that serves files."""
    monkeypatch.setenv("KUBECONFIG", str(cluster.user("streamer", namespace)))
    cluster.apply(pod("files", namespace, ["python3", "-c", SERVER]))
    ready(cluster, namespace, "files")
    opened = connect(None, None)
    yield opened
    opened.close()


def test_a_command_gets_its_input_and_returns_its_output_and_exit_code(session: Session) -> None:
    script = ["sh", "-c", "cat; echo oh >&2; exit 7"]
    assert run(session, "files", "main", script, seconds=30, stdin="hello") == (7, "hello", "oh\n")
    assert run(session, "files", "main", ["echo", "a b", "$HOME", "'"], seconds=30)[1] == "a b $HOME '\n"
    with pytest.raises(NotReady, match="has not ended in 1 seconds"):
        run(session, "files", "main", ["sleep", "60"], seconds=1)


def test_a_tunnel_carries_large_data_in_both_directions(session: Session) -> None:
    made = f"head -c {MEBIBYTES << 20} /dev/urandom > /tmp/blob && sha256sum < /tmp/blob"
    digest = run(session, "files", "main", ["sh", "-c", made], seconds=60)[1].split()[0]
    with tunnel(session, "files", 8080) as port:
        for _ in range(3):
            body = requests.get(f"http://127.0.0.1:{port}/blob", timeout=60).content
            assert hashlib.sha256(body).hexdigest() == digest
        sent = os.urandom(MEBIBYTES << 20)
        answer = requests.post(f"http://127.0.0.1:{port}/", data=sent, timeout=60)
        assert answer.text == hashlib.sha256(sent).hexdigest()
    with pytest.raises(OSError):  # noqa: PT011  # the listener is gone
        socket.create_connection(("127.0.0.1", port), timeout=2).close()


def test_a_missing_pod_or_right_is_reported_before_the_tunnel_opens(
    session: Session, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Vanished, match="nobody"), tunnel(session, "nobody", 8080):
        pass
    rules = [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]
    monkeypatch.setenv("KUBECONFIG", str(cluster.user("reader", session.namespace, rules=rules)))
    poor = connect(None, None)
    with pytest.raises(Forbidden, match=r"you may not (create|get) pods/portforward"), tunnel(poor, "files", 8080):
        pass
    with pytest.raises(Forbidden, match=r"you may not (create|get) pods/exec"):
        run(poor, "files", "main", ["true"], seconds=30)
    poor.close()


def test_a_command_in_a_pod_uses_the_mounted_credentials(cluster: Cluster, session: Session, tmp_path: Path) -> None:
    namespace = session.namespace
    token = cluster.kubectl("-n", namespace, "create", "token", "default").strip()
    cluster.kubectl(
        "-n", namespace, "create", "rolebinding", "own", "--clusterrole=view", f"--serviceaccount={namespace}:default"
    )
    mounted = {"token": token, "namespace": namespace, "ca.crt": cluster.ca_file.read_text()}
    for name, text in mounted.items():
        (tmp_path / name).write_text(text)
    place = "/var/run/secrets/kubernetes.io/serviceaccount"
    script = f'mount -t tmpfs tmpfs /var/run && mkdir -p {place} && cp {tmp_path}/* {place} && exec "$@"'
    host, _, port = cluster.api_server.removeprefix("https://").partition(":")
    listed = subprocess.run(
        ["unshare", "--mount", "--propagation=private", "sh", "-ec", script, "sh", str(DEPLOYER), "list", "-o", "json"],
        env={
            "PATH": "/usr/bin:/bin:/usr/sbin",
            "HOME": str(tmp_path),
            "KUBERNETES_SERVICE_HOST": host,
            "KUBERNETES_SERVICE_PORT": port,
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert listed.returncode == 0, listed.stderr
    assert json.loads(listed.stdout) == []


def test_an_object_of_a_missing_api_is_an_error_and_not_absent(
    session: Session, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(cluster.admin_kubeconfig))  # other users would get 403
    everything = connect(None, session.namespace)
    with contextlib.closing(everything), pytest.raises(Rejected, match=r"does not know routes\.route\.openshift\.io"):
        objects.apply(everything, {"apiVersion": "route.openshift.io/v1", "kind": "Route", "metadata": {"name": "a"}})
