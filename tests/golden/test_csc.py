"""Manifests fit the rules of CSC's Rahti and of LUMI-K, from the user guides on quotas, security and routes."""

import re

import pytest

from tests.support.manifest_cases import CASES, objects

PLACES = [case for case in CASES if case.startswith(("rahti-", "lumi-k-"))]
ROUTES = ["rahti-route-sqlite-volume", "lumi-k-route-sqlite-volume"]
UNITS = {"": 1.0, "m": 1e-3, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40}


@pytest.fixture(params=PLACES)
def items(request):
    return objects(request.param)


def one(items, kind):
    (item,) = [item for item in items if item["kind"] == kind]
    return item


def pod(items):
    return one(items, "Deployment")["spec"]["template"]["spec"]


def number(quantity):
    amount, unit = re.fullmatch(r"([0-9.]+)(\D*)", quantity).groups()
    return float(amount) * UNITS[unit]


def keys(node):
    if isinstance(node, dict):
        for key, value in node.items():
            yield key
            yield from keys(value)
    elif isinstance(node, list):
        for value in node:
            yield from keys(value)


def test_no_user_or_group_is_fixed(items):
    fixed = {"runAsUser", "runAsGroup", "fsGroup", "supplementalGroups", "fsGroupChangePolicy", "seLinuxOptions"}
    assert not fixed & set(keys(items))


def test_restricted_v2_is_met(items):
    assert pod(items)["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    assert pod(items)["containers"][0]["securityContext"]["allowPrivilegeEscalation"] is False
    assert pod(items)["containers"][0]["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert not {"hostPath", "hostPort", "hostNetwork", "hostPID", "hostIPC", "privileged"} & set(keys(items))


def test_the_volume_is_read_write_once_and_fits_the_quota(items):
    claim = one(items, "PersistentVolumeClaim")["spec"]
    assert claim["accessModes"] == ["ReadWriteOnce"]
    assert 0 < number(claim["resources"]["requests"]["storage"]) <= number("100Gi")


def test_a_volume_on_rahti_has_the_only_storage_class():
    items = objects("rahti-none-sqlite-volume")
    assert one(items, "PersistentVolumeClaim")["spec"]["storageClassName"] == "standard-csi"


def test_a_volume_of_one_node_has_one_pod_at_a_time(items):
    deployment = one(items, "Deployment")["spec"]
    assert deployment["strategy"] == {"type": "Recreate"}
    assert deployment["replicas"] == 1


@pytest.mark.parametrize(("resource", "least", "most"), [("cpu", "50m", "4"), ("memory", "8Mi", "16Gi")])
def test_resources_are_within_the_limit_range(items, resource, least, most):
    for container in pod(items)["containers"]:
        request = number(container["resources"]["requests"][resource])
        limit = number(container["resources"]["limits"][resource])
        assert number(least) <= request <= limit <= number(most)
        assert limit / request <= 5


def test_the_image_does_not_come_from_docker_hub(items):
    assert pod(items)["containers"][0]["image"].split("/")[0] in ("ghcr.io", "quay.io")


@pytest.mark.parametrize("case", ROUTES)
def test_the_route_speaks_https_only_and_waits_for_large_artifacts(case):
    items = objects(case)
    route = one(items, "Route")
    assert route["spec"]["tls"] == {"termination": "edge", "insecureEdgeTerminationPolicy": "Redirect"}
    timeout = route["metadata"]["annotations"]["haproxy.router.openshift.io/timeout"]
    assert re.fullmatch(r"[0-9]+s", timeout)
    assert int(timeout[:-1]) > 30


@pytest.mark.parametrize(("case", "domain"), [*zip(ROUTES, ("2.rahtiapp.fi", "apps.lumi-k.eu"), strict=True)])
def test_openshift_assigns_the_host_of_the_route_as_predicted(case, domain):
    items = objects(case)
    assert "host" not in one(items, "Route")["spec"]
    environment = {item["name"]: item.get("value") for item in pod(items)["containers"][0]["env"]}
    assert f"https://mlflow-team-a.{domain}" in environment["MLFLOW_SERVER_CORS_ALLOWED_ORIGINS"].split(",")


def test_nothing_needs_the_rights_of_a_cluster_administrator(items):
    allowed = {
        "ServiceAccount",
        "PersistentVolumeClaim",
        "NetworkPolicy",
        "ConfigMap",
        "Service",
        "Deployment",
        "Route",
    }
    assert {item["kind"] for item in items} <= allowed


@pytest.mark.parametrize("case", ROUTES)
def test_the_network_policy_admits_the_router_of_openshift(case):
    items = objects(case)
    (rule,) = one(items, "NetworkPolicy")["spec"]["ingress"]
    labels = [peer["namespaceSelector"]["matchLabels"] for peer in rule["from"] if "namespaceSelector" in peer]
    assert labels == [{"network.openshift.io/policy-group": "ingress"}]


@pytest.mark.parametrize(
    ("case", "networks"),
    [
        ("rahti-route-allowed", "86.50.172.0/27 193.167.209.160/28 2001:db8::/32"),
        ("lumi-k-route-allowed", "192.0.2.1/32"),
    ],
)
def test_the_allow_list_is_in_both_annotations_that_routers_read(case, networks):
    items = objects(case)
    annotations = one(items, "Route")["metadata"]["annotations"]
    lists = {key: value for key, value in annotations.items() if "list" in key}
    assert lists == {f"haproxy.router.openshift.io/{key}": networks for key in ("ip_allowlist", "ip_whitelist")}


def test_the_console_shows_the_server_as_one_python_application(items):
    labels = one(items, "Deployment")["metadata"]["labels"]
    assert labels["app.openshift.io/runtime"] == "python"
    assert labels["app.kubernetes.io/part-of"] == "mlflow"
