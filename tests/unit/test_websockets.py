import contextlib
import socket
from types import SimpleNamespace

import pytest
from kubernetes.client import Configuration

from deployer.kube import websockets
from deployer.kube.refusals import ClusterUnreachable


def test_a_tunnel_to_a_silent_server_times_out(monkeypatch):
    monkeypatch.setattr(websockets, "READ_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent, contextlib.ExitStack() as stack:
        configuration = Configuration(host=f"http://127.0.0.1:{silent.getsockname()[1]}")
        session = SimpleNamespace(
            configuration=configuration, namespace="team", authorization=lambda: None, patience=0, broke=lambda: None
        )
        with pytest.raises(ClusterUnreachable, match="no answer within"):
            stack.enter_context(websockets.tunnel(session, "pod", 5000))
