"""Writes the files for the node's programs: keys, kubeconfigs, configuration of containerd, CNI and the kubelet."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from tests.testbed import images
from tests.testbed.certificates import Authority, kubeconfig
from tests.testbed.place import INSIDE, Place
from tests.testbed.services import REGISTRY_PORT

APPS_DOMAIN = "apps.test"
ROUTES_DOMAIN = "routes.test"

CONTAINERD = f"""\
version = 2
root = "{INSIDE}/containerd"
state = "/run/containerd"
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{images.PAUSE}"
  # in a container of a CI system these three are refused
  restrict_oom_score_adj = true
  disable_apparmor = true
  disable_hugetlb_controller = true
[plugins."io.containerd.grpc.v1.cri".registry]
  config_path = "{INSIDE}/mirrors"
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "/usr/lib/cni"
  conf_dir = "{INSIDE}/cni"
[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = "overlayfs"
  default_runtime_name = "runc"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
"""

# with `server`, containerd reports an image that the mirror lacks as NotFound and does not ask the real registry
MIRROR = f"""\
server = "http://127.0.0.1:{REGISTRY_PORT}"
[host."http://127.0.0.1:{REGISTRY_PORT}"]
  capabilities = ["pull", "resolve"]
"""

AUDIT = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata"}],
}


def write(place: Place, directory: Path) -> None:
    for folder in ("cni", "log", "mirrors/_default", "pids", "pki", "users"):
        (directory / folder).mkdir(parents=True, exist_ok=True)
    _certificates(place, directory)
    (directory / "containerd.toml").write_text(CONTAINERD)
    (directory / "mirrors/_default/hosts.toml").write_text(MIRROR)
    (directory / "cni/10-pods.conflist").write_text(json.dumps(_pod_network(place)))
    (directory / "kubelet.yaml").write_text(yaml.safe_dump(_kubelet(place)))
    (directory / "audit-policy.yaml").write_text(yaml.safe_dump(AUDIT))
    # for the cluster's own pods, whose dnsPolicy is Default
    (directory / "pods-resolv.conf").write_text(f"nameserver {place.dns_service}\n")


def _certificates(place: Place, directory: Path) -> None:
    pki = directory / "pki"
    authority = Authority(pki)
    authority.create()
    names = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"]
    names.append("kubernetes.default.svc.cluster.local")
    addresses = ["127.0.0.1", place.api_service, place.node_address]
    server = (*(f"DNS:{name}" for name in names), *(f"IP:{address}" for address in addresses))
    authority.issue("apiserver", "/CN=kube-apiserver", server)
    authority.issue("front-proxy", "/CN=front-proxy")
    authority.issue("accounts", "/CN=service-accounts")
    for name, domain in {"wildcard": APPS_DOMAIN, "routes": ROUTES_DOMAIN}.items():
        authority.issue(name, f"/CN={domain}", (f"DNS:*.{domain}", f"DNS:{domain}"))
    kubelet = ("DNS:node", "IP:127.0.0.1", f"IP:{place.node_address}")
    users = {
        "admin": authority.issue("admin", "/O=system:masters/CN=admin"),
        "kubelet": authority.issue("kubelet", "/O=system:nodes/CN=system:node:node", kubelet),
    }
    for name, pair in users.items():
        (directory / f"{name}.kubeconfig").write_text(kubeconfig(place.api_server, authority.certificate, pair))


def _pod_network(place: Place) -> dict[str, object]:
    addresses = {
        "type": "host-local",
        "dataDir": str(INSIDE / "pod-addresses"),
        "ranges": [[{"subnet": place.pods}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        "ipMasq": True,
        "hairpinMode": True,
        "ipam": addresses,
    }
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    return {"cniVersion": "0.4.0", "name": "pods", "plugins": [bridge, ports]}


def _kubelet(place: Place) -> dict[str, object]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(INSIDE / "pki/ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(INSIDE / "pki/kubelet.crt"),
        "tlsPrivateKeyFile": str(INSIDE / "pki/kubelet.key"),
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{place.cgroup}",
        "failCgroupV1": False,
        "failSwapOn": False,
        # root without CAP_SYS_RESOURCE, as in a container: oom_score_adj and some sysctls are refused
        "featureGates": {"KubeletInUserNamespace": True},
        "clusterDNS": [place.dns_service],
        "clusterDomain": "cluster.local",
        "resolvConf": str(INSIDE / "pods-resolv.conf"),
        "serializeImagePulls": False,
        # a full disk of the machine must not cause evictions or the removal of images
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {"memory.available": "100Mi"},
        "syncFrequency": "10s",
    }
