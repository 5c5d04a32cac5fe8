"""The node's programs: their command lines, and how to start, find and stop them."""

from __future__ import annotations

import shlex
import signal as signals
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.testbed import place, programs
from tests.testbed.command import CommandFailed, run
from tests.testbed.node import Node
from tests.testbed.place import INSIDE, Place

PKI = INSIDE / "pki"
PROGRAMS = INSIDE / "programs"
REGISTRY_PORT = 5001
ETCD = "http://127.0.0.1:2379"
ADMIN = INSIDE / "admin.kubeconfig"
CSI_SOCKET = "/var/lib/kubelet/plugins/loop.csi.test/csi.sock"
HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Service:
    name: str
    command: tuple[str, ...]
    restarts: bool = False


def _node(program: str, **flags: object) -> tuple[str, ...]:
    """Return the command line of a program in the node's binary; flags in snake_case become --kebab-case."""
    written = (f"--{name.replace('_', '-')}={value}" for name, value in flags.items())
    return (str(PROGRAMS / programs.NODE.name), program, *written)


def _etcd(_: Place) -> tuple[str, ...]:
    return (
        *_node("etcd", data_dir=INSIDE / "etcd", listen_client_urls=ETCD, advertise_client_urls=ETCD),
        "--listen-peer-urls=http://127.0.0.1:2380",
        "--unsafe-no-fsync",  # a power failure of the machine ends the cluster anyway
    )


def _api_server(there: Place) -> tuple[str, ...]:
    return _node(
        "kube-apiserver",
        etcd_servers=ETCD,
        bind_address="0.0.0.0",
        secure_port=place.API_PORT,
        advertise_address=there.node_address,
        service_cluster_ip_range=there.services,
        allow_privileged="true",
        authorization_mode="Node,RBAC",
        enable_admission_plugins="NodeRestriction",
        # for MutatingAdmissionPolicies, which the OpenShift parts use
        feature_gates="MutatingAdmissionPolicy=true",
        runtime_config="admissionregistration.k8s.io/v1beta1=true",
        client_ca_file=PKI / "ca.crt",
        tls_cert_file=PKI / "apiserver.crt",
        tls_private_key_file=PKI / "apiserver.key",
        service_account_issuer="https://kubernetes.default.svc.cluster.local",
        service_account_key_file=PKI / "accounts.crt",
        service_account_signing_key_file=PKI / "accounts.key",
        # connections to the kubelet, for exec, logs and port-forward
        kubelet_certificate_authority=PKI / "ca.crt",
        kubelet_client_certificate=PKI / "admin.crt",
        kubelet_client_key=PKI / "admin.key",
        kubelet_preferred_address_types="InternalIP",
        # aggregated APIs
        requestheader_client_ca_file=PKI / "ca.crt",
        requestheader_allowed_names="front-proxy",
        requestheader_username_headers="X-Remote-User",
        requestheader_group_headers="X-Remote-Group",
        requestheader_extra_headers_prefix="X-Remote-Extra-",
        proxy_client_cert_file=PKI / "front-proxy.crt",
        proxy_client_key_file=PKI / "front-proxy.key",
        audit_policy_file=INSIDE / "audit-policy.yaml",
        audit_log_path=INSIDE / "audit.log",
    )


def _controller_manager(there: Place) -> tuple[str, ...]:
    return _node(
        "kube-controller-manager",
        kubeconfig=ADMIN,
        leader_elect="false",
        # the default of 20 requests per second would delay a new cluster by six seconds
        kube_api_qps=1000,
        kube_api_burst=2000,
        use_service_account_credentials="true",
        service_account_private_key_file=PKI / "accounts.key",
        root_ca_file=PKI / "ca.crt",
        cluster_signing_cert_file=PKI / "ca.crt",
        cluster_signing_key_file=PKI / "ca.key",
        cluster_cidr=there.pods,
        allocate_node_cidrs="false",
    )


def _scheduler(_: Place) -> tuple[str, ...]:
    return _node("kube-scheduler", kubeconfig=ADMIN, leader_elect="false")


def _kubelet(there: Place) -> tuple[str, ...]:
    return _node(
        "kubelet",
        config=INSIDE / "kubelet.yaml",
        kubeconfig=INSIDE / "kubelet.kubeconfig",
        hostname_override="node",
        node_ip=there.node_address,
    )


def _proxy(there: Place) -> tuple[str, ...]:
    return (
        *_node("kube-proxy", kubeconfig=ADMIN, proxy_mode="iptables", cluster_cidr=there.pods),
        "--hostname-override=node",
        "--conntrack-max-per-core=0",  # leave the machine's limit unchanged
    )


def _storage(_: Place) -> tuple[str, ...]:
    return _node("loop-csi", directory=INSIDE / "volumes", node="node")


def _provisioner(_: Place) -> tuple[str, ...]:
    return _node("loop-provisioner", socket=CSI_SOCKET, kubeconfig=ADMIN)


def _containerd(_: Place) -> tuple[str, ...]:
    return ("containerd", "--config", str(INSIDE / "containerd.toml"))


def _registry(_: Place) -> tuple[str, ...]:
    return (sys.executable, str(HERE / "registry.py"), str(REGISTRY_PORT), str(INSIDE / "registry"))


def _policies(_: Place) -> tuple[str, ...]:
    """Return the enforcer's command line, with its path: the node's working directory is not the checkout."""
    return ("env", f"PYTHONPATH={HERE.parents[1]}", sys.executable, "-m", f"{__package__}.enforcer", str(ADMIN))


CONTROL_PLANE = {"etcd": _etcd, "apiserver": _api_server}
RUNTIME = {"registry": _registry, "containerd": _containerd}
CONTROLLERS = {
    "controller-manager": _controller_manager,
    "scheduler": _scheduler,
    "kubelet": _kubelet,
    "proxy": _proxy,
    "policies": _policies,
    "storage": _storage,
    "provisioner": _provisioner,
}
# these end when a service that they need ends; in pods, Kubernetes would restart them
RESTARTED = {"policies", "storage", "provisioner"}
NAMES = (*CONTROL_PLANE, *RUNTIME, *CONTROLLERS)


def start(node: Node, name: str) -> None:
    """Start a service inside the node, unless it runs already or restarts by itself."""
    started = (node.directory / "pids" / name).exists()
    if running(node, name) or (started and name in RESTARTED):
        return
    command = {**CONTROL_PLANE, **RUNTIME, **CONTROLLERS}[name](node.place)
    # there is enough memory: let Go collect garbage less often
    log = f"export GOGC=400; exec >> {INSIDE}/log/{name}.log 2>&1 < /dev/null"
    program = f"echo $$ > {INSIDE}/pids/{name}; exec {shlex.join(command)}"
    if name in RESTARTED:
        program = f"while :; do sh -c {shlex.quote(program)}; sleep 1; done"
    node.run("setsid", "--fork", "sh", "-c", f"{log}; {program}")


def running(node: Node, name: str) -> bool:
    try:
        signal(node, name, 0)
    except (CommandFailed, FileNotFoundError):
        return False
    return True


def signal(node: Node, name: str, number: int = signals.SIGKILL) -> None:
    """Send a signal to a service; the recorded pid belongs to the node's process namespace."""
    pid = (node.directory / "pids" / name).read_text().strip()
    run(*node.enter("kill", f"-{number}", pid))
