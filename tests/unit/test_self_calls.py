"""The address at which a server reaches itself."""

from __future__ import annotations

import os
import socket

import pytest

from deployer.plugin.gateway import self_calls


@pytest.mark.parametrize(
    ("host", "own"),
    [
        ("127.0.0.1", "127.0.0.1:5000"),
        ("10.1.2.3", "10.1.2.3:5000"),
        ("0.0.0.0", "127.0.0.1:5000"),  # a listener's address, which clients cannot connect to everywhere
        ("::1", "[::1]:5000"),
        ("::", "[::1]:5000"),
    ],
)
def test_a_server_calls_itself_at_its_listening_address_or_at_the_loopback(host: str, own: str) -> None:
    assert self_calls.authority(host, 5000) == own


@pytest.mark.parametrize(("hosts", "allowed"), [("team.example.org", "team.example.org,"), ("", None)])
def test_the_server_s_own_address_is_added_to_listed_hosts(
    monkeypatch: pytest.MonkeyPatch, hosts: str, allowed: str | None
) -> None:
    monkeypatch.setattr(os, "environ", {self_calls.HOSTS: hosts} if hosts else {})
    with socket.create_server(("127.0.0.1", 0)) as listener:
        self_calls.announce(listener)
        own = f"127.0.0.1:{listener.getsockname()[1]}"
    assert os.environ[self_calls.OWN] == own
    assert os.environ.get(self_calls.HOSTS) == (None if allowed is None else allowed + own)
