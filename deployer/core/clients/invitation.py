"""The text that tells a colleague how to use a server. It has no password, so it can be sent by any mail."""

from __future__ import annotations

import urllib.parse
from collections.abc import Sequence
from dataclasses import dataclass, replace

from deployer.core import quoting
from deployer.core.address import written
from deployer.core.clients.snippets import CA, URI, Client


@dataclass(frozen=True)
class Way:
    """How a colleague's machine reaches the server.

    - `networks`: the only networks that may connect; empty if all may
    - `machine`: the machine of a server that listens on the loopback interface
    - `namespace`, `port`: the target of a tunnel to a server that only its cluster can reach
    """

    networks: Sequence[str] = ()
    machine: str = ""
    namespace: str = ""
    port: int = 0


def invitation(client: Client, way: Way) -> list[str]:
    """Return the lines of the invitation."""
    client = replace(client, url=f"http://localhost:{way.port}") if client.in_cluster else client
    user = quoting.comment(client.username)
    return [
        "You have an account on our MLflow server, which keeps experiments, runs and models.",
        "",
        f"  Address    {client.url}",
        f"  User name  {user}",
        "  Password   comes to you another way, not with this text",
        "",
        *_way(client, way),
        "To start:",
        "",
        "  pip install mlflow",
        f"  export {URI}={quoting.shell(client.url)}",
        f"  deployer login {quoting.shell(client.url)} --username {quoting.shell(client.username)}",
        "",
        "The last line asks for the password, checks it, and keeps it where MLflow looks. Without deployer, do that",
        "by hand: put these three lines into ~/.mlflow/credentials (write each % in the password twice), then type",
        "chmod 600 ~/.mlflow/credentials",
        "",
        "  [mlflow]",
        f"  mlflow_tracking_username = {user.replace('%', '%%')}",
        "  mlflow_tracking_password = ...",
        "",
        "See in Python that it works:",
        "",
        "  import mlflow",
        "  print([experiment.name for experiment in mlflow.search_experiments()])",
        "",
        f"The same address in a browser shows the runs; it asks for the same user name and password: {client.url}",
    ]


def _way(client: Client, way: Way) -> list[str]:
    lines: list[str] = []
    if client.at_loopback and not way.namespace:
        port, far = urllib.parse.urlsplit(client.url).port, written(client.host)
        lines += [
            f"The server answers on the machine {way.machine} alone. From elsewhere, keep this open beside your work:",
            "",
            f"  ssh -N -L {port}:{far}:{port} {quoting.shell(way.machine)}",
            "",
        ]
    elif way.namespace:
        lines += [
            "The server has no public address. With a login to its cluster, keep this running beside your work:",
            "",
            f"  kubectl -n {way.namespace} port-forward svc/{client.name} {way.port}",
            "",
        ]
    if way.networks:
        lines += ["Only these networks may connect (others get no answer at all; use a machine or a VPN there):", ""]
        lines += [*(f"  {network}" for network in way.networks), ""]
    if client.ca_file:
        lines += [
            "Its certificate is that of a private authority, whose file comes with this text. Save it and tell MLflow:",
            "",
            f"  export {CA}=/where/you/saved/it.pem",
            "",
            "(and for `deployer login` as well: type this line first)",
            "",
        ]
    return lines
