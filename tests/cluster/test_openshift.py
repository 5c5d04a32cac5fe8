"""The cluster as an OpenShift: Routes and the router behave like OpenShift's."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.pods import bare, ready, run_in
from tests.testbed.cluster import Cluster
from tests.testbed.command import CommandFailed, wait_until

pytestmark = pytest.mark.full_scale

EDGE = {"termination": "edge", "insecureEdgeTerminationPolicy": "Redirect"}
LIST = "haproxy.router.openshift.io/ip_allowlist"
TIMEOUT = "haproxy.router.openshift.io/timeout"
NOBODY = "192.0.2.1"  # reserved for documentation: no client has this address
CLOSED = "000 52"  # the connection is closed without a response
RELOADED = 20  # seconds: a reload may be due only after five, and the machine may be busy
GROUPS = {"route.openshift.io/v1", "project.openshift.io/v1"}
# answers /N after N seconds with the pod's name and the request's headers
SERVER = """\
import http.server, os, time
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        time.sleep(float(self.path.strip("/") or 0))
        self.send_response(200)
        self.end_headers()
        self.wfile.write((os.uname().nodename + " " + str(self.headers)).encode())
http.server.ThreadingHTTPServer(("", 8080), Handler).serve_forever()
"""


def route(name: str, namespace: str, tls: dict[str, str] | None = EDGE, **spec: Any) -> dict[str, Any]:
    content = {"to": {"kind": "Service", "name": "web"}, "port": {"targetPort": "http"}, **spec}
    metadata = {"name": name, "namespace": namespace}
    kind = {"apiVersion": "route.openshift.io/v1", "kind": "Route"}
    return {**kind, "metadata": metadata, "spec": {**content, **({"tls": tls} if tls else {})}}


def curl(cluster: Cluster, url: str, *options: str) -> str:
    """Return the HTTP status, curl's exit code and the redirect URL."""
    command = ["curl", "--silent", "--output", "/dev/null", "--max-time", "20", "--cacert", str(cluster.ca_file)]
    written = ["--write-out", "%{http_code} %{exitcode} %{redirect_url}"]
    done = subprocess.run(
        cluster.in_network([*command, *written, *options, url]), capture_output=True, text=True, check=False
    )
    return done.stdout.strip()


def condition(cluster: Cluster, name: str, namespace: str) -> dict[str, str]:
    """Return the router's condition of a Route, as soon as there is one."""
    found: list[dict[str, str]] = []

    def said() -> bool:
        written = json.loads(cluster.kubectl("get", "route", name, f"--namespace={namespace}", "--output=json"))
        found.extend(entry["conditions"][0] for entry in written.get("status", {}).get("ingress", []))
        return bool(found)

    wait_until(said, f"the status of route {name}", 10)
    return found[-1]


@dataclass(frozen=True)
class Site:
    """A project with a pod that serves HTTP, and a user of the project."""

    cluster: Cluster
    namespace: str
    user: Path

    def host(self, name: str) -> str:
        return f"{name}-{self.namespace}.{self.cluster.routes_domain}"

    def serve(self, name: str, **spec: Any) -> str:
        """Create a Route as the user and wait until it leads to the pod; return its URL."""
        scheme = "https" if spec.get("tls", EDGE) else "http"
        self.create(route(name, self.namespace, **spec))
        url = f"{scheme}://{spec.get('host') or self.host(name)}/"
        wait_until(lambda: curl(self.cluster, url) == "200 0", f"200 from {url}", RELOADED)
        return url

    def url(self, name: str) -> str:
        return f"https://{self.host(name)}/"

    def create(self, item: dict[str, Any]) -> Any:
        return json.loads(self.kubectl("create", "--output=json", "--filename=-", input=json.dumps(item)))

    def create_together(self, items: list[dict[str, Any]]) -> None:
        self.kubectl("create", "--filename=-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))

    def annotate(self, name: str, annotations: dict[str, str]) -> None:
        patch = json.dumps({"metadata": {"annotations": annotations}})
        self.kubectl("patch", "route", name, "--type=merge", "--patch", patch)

    def kubectl(self, *arguments: str, **given: Any) -> str:
        return self.cluster.kubectl(*arguments, f"--kubeconfig={self.user}", **given)


@pytest.fixture(scope="module")
def new_site(openshift: Cluster) -> Iterator[Callable[[], Site]]:
    with ExitStack() as stack:

        def make() -> Site:
            namespace = stack.enter_context(openshift.project())
            site = Site(openshift, namespace, openshift.user(f"ada-{namespace}", namespace))
            ports = [{"name": "http", "containerPort": 8080}]
            probe = {"tcpSocket": {"port": 8080}, "periodSeconds": 1}
            spec = {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]}
            service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": spec}
            server = bare("web", namespace, "python3", "-c", SERVER, ports=ports, readinessProbe=probe)
            site.create(server)
            site.create(service)
            ready(openshift, namespace, "web")
            return site

        yield make


STANDING: dict[str, dict[str, str] | None] = {
    "allow": {**EDGE, "insecureEdgeTerminationPolicy": "Allow"},
    "none": {**EDGE, "insecureEdgeTerminationPolicy": "None"},
    "unsaid": {"termination": "edge"},
    "plain": None,
    "headers": EDGE,
    "listed": EDGE,
    "inside": EDGE,
    "slow": EDGE,
}


@pytest.fixture(scope="module")
def site(new_site: Callable[[], Site]) -> Site:
    """A site whose Routes were created at once, so that one reload suffices."""
    made = new_site()
    made.create_together([route(name, made.namespace, tls) for name, tls in STANDING.items()])
    wait_until(lambda: curl(made.cluster, made.url("slow")) == "200 0", "the standing Routes", RELOADED)
    return made


def test_no_openshift_api_remains_afterwards(cluster: Cluster) -> None:
    def shown() -> set[str]:
        return GROUPS & set(cluster.kubectl("api-versions").split())

    # the first test of this file, because it removes the APIs that the other tests share
    with cluster.openshift():
        # the API server discovers aggregated APIs in the background
        wait_until(lambda: shown() == GROUPS, "OpenShift's API groups", 30)
    assert shown() == set()


def test_a_route_has_its_host_at_once_and_leads_to_the_pod_by_verified_tls(site: Site) -> None:
    made = site.create(route("first", site.namespace))
    host = site.host("first")
    assert made["spec"]["host"] == host
    assert made["metadata"]["annotations"] == {"openshift.io/host.generated": "true"}
    assert condition(site.cluster, "first", site.namespace)["status"] == "True"
    wait_until(lambda: curl(site.cluster, f"https://{host}/") == "200 0", "200", RELOADED)
    assert curl(site.cluster, f"http://{host}/a?b") == f"302 0 https://{host}/a?b"
    columns = site.kubectl("get", "routes").splitlines()
    assert columns[0].split()[:3] == ["NAME", "HOST", "ADMITTED"]
    assert ["first", host, "True", "web"] in [line.split() for line in columns]
    (entry,) = json.loads(site.kubectl("get", "route", "first", "--output=json"))["status"]["ingress"]
    assert (entry["host"], entry["routerName"], entry["wildcardPolicy"]) == (host, "default", "None")
    assert entry["routerCanonicalHostname"] == f"router-default.{site.cluster.routes_domain}"


@pytest.mark.parametrize(
    ("name", "http", "https"),
    [
        ("allow", "200 0", "200 0"),
        ("none", "503 0", "200 0"),
        ("unsaid", "503 0", "200 0"),
        ("plain", "200 0", "503 0"),
    ],
)
def test_plain_http_follows_the_tls_settings_of_the_route(site: Site, name: str, http: str, https: str) -> None:
    assert curl(site.cluster, f"http://{site.host(name)}/") == http
    assert curl(site.cluster, f"https://{site.host(name)}/") == https


def test_a_host_without_pods_answers_503(site: Site) -> None:
    assert curl(site.cluster, f"https://{site.host('unknown')}/") == "503 0"
    site.create(route("empty", site.namespace, to={"kind": "Service", "name": "nobody"}))
    assert condition(site.cluster, "empty", site.namespace)["status"] == "True"
    assert curl(site.cluster, f"https://{site.host('empty')}/") == "503 0"


def test_the_server_gets_the_forwarded_headers(site: Site) -> None:
    command = ["curl", "--silent", "--cacert", str(site.cluster.ca_file), site.url("headers")]
    said = subprocess.run(site.cluster.in_network(command), capture_output=True, text=True, check=True).stdout
    assert f"x-forwarded-for: {site.cluster.client_addresses[0]}" in said
    assert f"x-forwarded-host: {site.host('headers')}" in said
    assert "x-forwarded-proto: https" in said
    assert "x-forwarded-port: 443" in said


def test_a_changed_allow_list_applies_after_the_next_reload(site: Site) -> None:
    """test_router.py checks the meaning of lists."""
    mine, other = site.cluster.client_addresses

    def answers() -> list[str]:
        return [curl(site.cluster, site.url("listed"), "--interface", address) for address in (mine, other)]

    assert answers() == ["200 0", "200 0"]
    for value, expected in ((mine, ["200 0", CLOSED]), (f"{other}/32 nonsense", [CLOSED, "200 0"])):
        site.annotate("listed", {LIST: value})
        wait_until(lambda expected=expected: answers() == expected, f"{value!r} to mean {expected}", RELOADED)


def test_a_new_route_is_admitted_before_it_is_served(site: Site) -> None:
    unserved = 0
    for number in range(3):
        name = f"new{number}"
        site.create(route(name, site.namespace))
        assert condition(site.cluster, name, site.namespace)["status"] == "True"
        # a quiet router may serve the first Route at once; the second Route then waits for five seconds
        unserved += curl(site.cluster, site.url(name)) == "503 0"
    assert unserved
    wait_until(lambda: curl(site.cluster, site.url("new2")) == "200 0", "the last one served", RELOADED)


def test_the_allow_list_applies_to_pods_too(site: Site) -> None:
    url = site.url("inside")
    ask = ("curl", "--silent", "--insecure", url)
    said = run_in(site.cluster, site.namespace, "web", *ask)
    address = next(line.split()[-1] for line in said.splitlines() if line.startswith("x-forwarded-for"))
    assert address not in site.cluster.client_addresses
    site.annotate("inside", {LIST: site.cluster.client_addresses[0]})

    def refused() -> bool:
        try:
            run_in(site.cluster, site.namespace, "web", *ask)
        except CommandFailed as failed:
            return "exit code 52" in str(failed)
        return False

    wait_until(refused, "the pod's request closed", RELOADED)
    assert curl(site.cluster, url) == "200 0"
    site.annotate("inside", {LIST: address})
    wait_until(lambda: not refused(), "the pod's request answered", RELOADED)
    assert curl(site.cluster, url) == CLOSED


def test_a_hostile_allow_list_never_stops_the_router(site: Site) -> None:
    mine = site.cluster.client_addresses[0]
    many = " ".join(f"192.0.2.{number}" for number in range(1, 200))
    values = (f"{mine}\n  bogus", f"{mine} #", mine + " } ' \"", f"{many} {mine}")
    items = [route(f"hostile{number}", site.namespace) for number in range(len(values))]
    for item, value in zip(items, values, strict=True):
        item["metadata"]["annotations"] = {LIST: value, TIMEOUT: "99999999d"}
    site.create_together(items)
    for number, value in enumerate(values):
        url = site.url(f"hostile{number}")
        wait_until(lambda url=url: curl(site.cluster, url) == "200 0", repr(value), RELOADED)


def test_the_oldest_route_owns_a_host_until_its_deletion(site: Site, new_site: Callable[[], Site]) -> None:
    host = f"shared-{site.namespace}.{site.cluster.routes_domain}"
    site.serve("shared")
    other = new_site()
    for name, path in {"thief": "", "below": "/0"}.items():
        other.create(route(name, other.namespace, host=host, path=path or "/"))
        refused = condition(other.cluster, name, other.namespace)
        assert (refused["status"], refused["reason"]) == ("False", "HostAlreadyClaimed")
    site.create(route("beside", site.namespace, host=host, path="/0"))
    site.create(route("again", site.namespace, host=host))
    assert condition(site.cluster, "beside", site.namespace)["status"] == "True"
    assert condition(site.cluster, "again", site.namespace)["reason"] == "HostAlreadyClaimed"
    site.kubectl("delete", "route", "shared", "beside", "again")

    def inherited() -> bool:
        return condition(other.cluster, "thief", other.namespace)["status"] == "True"

    wait_until(inherited, "the next oldest Route to get the host", 10)
    wait_until(lambda: curl(site.cluster, f"https://{host}/") == "200 0", "200", RELOADED)


def test_a_user_cannot_change_the_host_of_a_route(site: Site) -> None:
    site.create(route("own", site.namespace, host=site.host("chosen")))
    patch = json.dumps({"spec": {"host": site.host("changed")}})
    change = ("patch", "route", "own", "--type=merge", "--patch", patch, f"--namespace={site.namespace}")
    with pytest.raises(CommandFailed, match=r'is invalid.*spec\.host: Invalid value: "changed-.*permission'):
        site.kubectl(*change)
    with pytest.raises(CommandFailed, match=r"spec\.host: Invalid value"):
        site.kubectl("patch", "route", "own", "--type=merge", "--patch", '{"spec": {"host": null}}')
    site.kubectl("label", "route", "own", "a=b")
    site.cluster.kubectl(*change)


def test_an_invalid_host_name_is_refused(site: Site) -> None:
    with pytest.raises(CommandFailed, match=r"spec\.host: Invalid value"):
        site.create(route("a" * 60, site.namespace))


@pytest.mark.parametrize(
    ("name", "spec", "reason"),
    [
        ("passthrough", {"tls": {"termination": "passthrough"}}, None),
        ("reencrypt", {"tls": {"termination": "reencrypt"}}, None),
        ("blank", {"path": "/a b"}, None),
        ("wildcard", {"wildcardPolicy": "Subdomain", "host": "x.{domain}"}, "RouteNotAdmitted"),
        ("upper", {"host": "Upper.{domain}"}, "InvalidHost"),
    ],
)
def test_the_router_admits_a_route_or_gives_the_reason(
    site: Site, name: str, spec: dict[str, Any], reason: str | None
) -> None:
    wanted = {**spec, "host": spec["host"].format(domain=site.cluster.routes_domain)} if "host" in spec else spec
    site.create(route(name, site.namespace, **wanted))
    said = condition(site.cluster, name, site.namespace)
    assert (said["status"], said.get("reason")) == ("False" if reason else "True", reason)


def test_the_router_waits_for_a_slow_server_until_the_timeout_of_the_route(site: Site) -> None:
    url = site.url("slow")
    site.annotate("slow", {TIMEOUT: "1s"})
    wait_until(lambda: curl(site.cluster, f"{url}2") == "504 0", "the gateway's time-out", RELOADED)
    site.annotate("slow", {TIMEOUT: "one second"})
    wait_until(lambda: curl(site.cluster, f"{url}2") == "200 0", "the default of 30 s", RELOADED)


def test_a_network_policy_can_select_the_router_by_namespace_labels(openshift: Cluster, new_site: Any) -> None:
    site = new_site()
    url = site.serve("policed")
    direct = ("curl", "-s", "--max-time", "2", "http://web/")
    site.create(bare("stranger", site.namespace))
    ready(openshift, site.namespace, "stranger")
    run_in(openshift, site.namespace, "stranger", *direct)
    router = {"namespaceSelector": {"matchLabels": {"network.openshift.io/policy-group": "ingress"}}}
    spec = {"podSelector": {"matchLabels": {"app": "web"}}, "ingress": [{"from": [router]}]}
    kind = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "router-only"}}
    site.create({**kind, "spec": spec})

    def blocked() -> bool:
        try:
            run_in(openshift, site.namespace, "stranger", *direct)
        except CommandFailed:
            return True
        return False

    wait_until(blocked, "the stranger to be blocked", 10)
    assert curl(openshift, url) == "200 0"
