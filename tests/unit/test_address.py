"""The address that a server of this machine listens at, and the address for its clients."""

import pytest

from deployer.core.address import announced, at_loopback, forwarding, url
from deployer.core.spec.platform import KUBERNETES, LOCAL
from deployer.core.spec.schema import Spec
from deployer.core.stack.assigned import Assigned
from deployer.core.stack.components import build
from tests.unit.strategies import spec_file

from .test_components import spec, variable


@pytest.mark.parametrize(
    ("listen", "told"),
    [
        (None, None),
        ("127.0.0.1", None),
        ("localhost", None),
        ("0.0.0.0", "node7"),
        ("::", "node7"),
        ("node7.cluster.example.org", "node7.cluster.example.org"),
        ("192.0.2.7", "192.0.2.7"),
        ("::1", "::1"),
    ],
)
def test_clients_get_a_usable_host_name(listen, told):
    assert announced(listen, "Node7") == told


@pytest.mark.parametrize("host", [None, "127.0.0.1", "127.0.1.1", "localhost", "::1"])
def test_every_name_of_the_loopback_is_recognized(host):
    assert at_loopback(host)


@pytest.mark.parametrize("host", ["node7", "192.0.2.7", "fd00::2", "1270.example.org"])
def test_other_hosts_are_not_the_loopback(host):
    assert not at_loopback(host)


@pytest.mark.parametrize(
    ("host", "line"),
    [
        (None, "ssh -N -L 5000:127.0.0.1:5000 anna@login1"),
        ("::1", "ssh -N -L 5000:[::1]:5000 anna@login1"),
        ("node7", "ssh -N -L 5000:node7:5000 anna@LOGIN-NODE"),
        ("fd00::2", "ssh -N -L 5000:[fd00::2]:5000 anna@LOGIN-NODE"),
    ],
)
def test_the_ssh_command_forwards_to_the_listening_address(host, line):
    assert forwarding(host, 5000, "login1", "anna") == line


@pytest.mark.parametrize(
    ("host", "listen", "hosts", "origin"),
    [
        ("node7", "0.0.0.0", ["node7", "node7:*"], "http://node7:5123"),
        ("fd00::2", "fd00::2", ["[fd00::2]", "[[]fd00::2]:*"], "http://[fd00::2]:5123"),
    ],
)
def test_the_server_accepts_its_announced_host_name(host, listen, hosts, origin):
    wanted = spec(**{key: value for key, value in spec_file("spec.local.host", listen).items() if key == "spec"})
    stack = build(wanted, LOCAL, Assigned(host=host, ports={"http": 5123}))
    assert variable(stack, "MLFLOW_SERVER_ALLOWED_HOSTS")[:2] == hosts
    assert variable(stack, "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS")[0] == origin == url(host, 5123)
    assert variable(stack, "MLFLOW_HOST") == [listen]


def test_a_cluster_ignores_the_listening_address_of_this_machine():
    wanted = spec(spec={"local": {"host": "node7"}, "exposure": {"type": "none"}})
    here = Assigned(host="old.example.org", namespace="team-a", ports={"http": 5000})
    plain = spec(spec={"exposure": {"type": "none"}})
    assert build(wanted, KUBERNETES, here) == build(plain, KUBERNETES, here)


def test_by_default_nobody_else_can_connect():
    assert Spec().spec.local.host is None
