"""The invitation of a colleague: the way to the server from their machine, and no secret."""

from __future__ import annotations

from dataclasses import replace

from deployer.core.clients.invitation import Way, invitation
from deployer.core.clients.snippets import Client

PUBLIC = Client("team", "https://mlflow.example.org", "alice")


def text(client: Client, way: Way = Way()) -> str:  # noqa: B008  # frozen
    return "\n".join(invitation(client, way))


def test_a_public_server_needs_three_lines() -> None:
    said = text(PUBLIC)
    for line in (
        "  pip install mlflow",
        "  export MLFLOW_TRACKING_URI=https://mlflow.example.org",
        "  deployer login https://mlflow.example.org --username alice",
        "  mlflow_tracking_username = alice",
    ):
        assert line in said.splitlines()
    assert "ssh" not in said
    assert "port-forward" not in said
    assert "CERT_PATH" not in said


def test_each_way_to_the_server_is_described_where_it_applies() -> None:
    here = text(replace(PUBLIC, url="http://127.0.0.1:5007"), Way(machine="login1"))
    assert "  ssh -N -L 5007:127.0.0.1:5007 login1" in here.splitlines()
    for host in ("[::1]", "127.0.0.2"):  # the tunnel must not end at another user's server
        here = text(replace(PUBLIC, url=f"http://{host}:5007"), Way(machine="login1"))
        assert f"  ssh -N -L 5007:{host}:5007 login1" in here.splitlines()
    inside = text(replace(PUBLIC, url="http://team.ml.svc:5000"), Way(namespace="ml", port=5000))
    assert "  kubectl -n ml port-forward svc/team 5000" in inside.splitlines()
    assert "deployer login http://localhost:5000 --username alice" in inside
    assert "team.ml.svc" not in inside
    assert "  192.0.2.0/24" in text(PUBLIC, Way(networks=("192.0.2.0/24",))).splitlines()
    assert "CERT_PATH" in text(replace(PUBLIC, ca_file="/etc/ca.pem"))
    assert "/etc/ca.pem" not in text(replace(PUBLIC, ca_file="/etc/ca.pem"))


def test_an_awkward_user_name_is_quoted_in_the_command_and_escaped_in_the_ini_file() -> None:
    said = text(replace(PUBLIC, username="a b%c'd"))
    assert "--username 'a b%c'\"'\"'d'" in said
    assert "mlflow_tracking_username = a b%%c'd" in said
