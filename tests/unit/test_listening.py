"""The socket that the server's program listens on."""

import asyncio
import socket

import pytest

from deployer.core.errors import UsageError
from deployer.plugin.listener import listening_socket
from deployer.plugin.serving.connections import Register
from deployer.plugin.serving.descriptors import Listener
from deployer.targets.local.ports import listen


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_the_socket_names_tcp_as_its_protocol_so_that_answers_are_not_delayed(monkeypatch, host):
    monkeypatch.setenv("MLFLOW_HOST", host)
    monkeypatch.setenv("MLFLOW_PORT", "0")
    monkeypatch.delenv("LISTEN_FDS", raising=False)
    with listening_socket() as listener:
        assert listener.proto == socket.IPPROTO_TCP
        with socket.create_connection(("127.0.0.1", listener.getsockname()[1])):
            accepted, _ = listener.accept()
            assert accepted.proto == socket.IPPROTO_TCP
            accepted.close()


def test_an_ambiguous_name_of_the_loopback_is_refused():
    with pytest.raises(UsageError, match="where nobody else can connect"):
        listen(0, "127.1")  # resolves to 127.0.0.1, as a name in /etc/hosts may do
    listen(0, "127.0.0.1").close()
    listen(0, "localhost").close()


def test_a_shared_socket_accepts_one_connection_per_event_loop_turn():
    turns = []

    async def story():
        loop = asyncio.get_running_loop()
        with socket.create_server(("127.0.0.1", 0)) as made:
            listener = Listener(fileno=made.detach(), connections=Register(lambda: 0.0, {}), evenly=True)
        address = listener.getsockname()
        waiting = [socket.create_connection(address) for _ in range(5)]
        turn = 0

        class Accepted(asyncio.Protocol):
            def connection_made(self, transport):
                turns.append(turn)
                transport.close()

        server = await loop.create_server(Accepted, sock=listener)
        while len(turns) < len(waiting):
            turn += 1
            await asyncio.sleep(0)
        server.close()
        await server.wait_closed()
        for connection in waiting:
            connection.close()

    asyncio.run(asyncio.wait_for(story(), 30))
    assert len(set(turns)) == 5
