"""Proxies of clients: they are bypassed only for a server that clients reach directly."""

import pytest

from deployer.cli.client import client_at
from deployer.tracking.client import Endpoint


@pytest.fixture(autouse=True)
def proxy(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "http://squid.example.org:3128")


def test_clients_reach_a_public_server_through_the_proxy():
    assert client_at(Endpoint("https://mlflow.example.org"), "anna").around is None


@pytest.mark.parametrize("url", ["http://127.0.0.1:5000", "http://127.0.0.2:5000", "http://[::1]:5000"])
def test_clients_bypass_the_proxy_for_a_server_of_this_machine(url, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "intranet.example")
    assert client_at(Endpoint(url), "anna").around == "intranet.example"


def test_clients_bypass_the_proxy_for_a_server_inside_the_cluster():
    assert client_at(Endpoint("http://mlflow.team-a.svc:5000"), "anna").around == ""
