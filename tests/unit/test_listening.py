"""The socket that the server's program listens on."""

import socket

import pytest

from deployer.plugin import launch


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_a_socket_of_its_own_names_its_protocol_so_that_answers_are_not_delayed(monkeypatch, host):
    monkeypatch.setenv("MLFLOW_HOST", host)
    monkeypatch.setenv("MLFLOW_PORT", "0")
    monkeypatch.delenv("LISTEN_FDS", raising=False)
    with launch.listening_socket() as listener:
        assert listener.proto == socket.IPPROTO_TCP
        with socket.create_connection(("127.0.0.1", listener.getsockname()[1])):
            accepted, _ = listener.accept()
            assert accepted.proto == socket.IPPROTO_TCP
            accepted.close()
