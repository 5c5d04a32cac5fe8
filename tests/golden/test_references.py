"""Every name in a manifest refers to an existing object, and every needed secret is in the credentials."""

import base64

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from deployer.core.secrets.databases import DATABASES
from deployer.core.secrets.references import S3_ACCESS_KEY, S3_SECRET_KEY
from deployer.core.spec import document
from deployer.core.spec.platform import PROFILES
from deployer.core.spec.schema import API_VERSION, KIND
from deployer.operations.render import credentials, manifests
from tests.support.manifest_cases import CASES, HATCHES, LOADER, objects, spec

S3_KEYS = {S3_ACCESS_KEY: "an-access-key", S3_SECRET_KEY: "a-secret-key"}
URLS = dict.fromkeys(DATABASES.values(), "postgresql+psycopg2://user:password@db.example.org/mlflow")


def read(documents):
    return [yaml.load(text, Loader=LOADER) for text in documents.values()]


def one(items, kind):
    (item,) = [item for item in items if item["kind"] == kind]
    return item


def names(items, kind):
    return {item["metadata"]["name"] for item in items if item["kind"] == kind}


def references(node):
    """Yield every (Secret, key) that a manifest refers to."""
    if isinstance(node, dict):
        if "secretKeyRef" in node:
            yield node["secretKeyRef"]["name"], node["secretKeyRef"]["key"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def secret_keys(text):
    """Return every (Secret, key) in the credentials."""
    return {(item["metadata"]["name"], key) for item in yaml.safe_load_all(text) for key in item["stringData"]}


@pytest.mark.parametrize("case", CASES)
def test_the_credentials_are_the_secrets_that_the_manifests_refer_to(case):
    wanted = list(references(objects(case)))
    given_ = {**(S3_KEYS if case.endswith("s3") else {}), **(URLS if "external" in case else {})}
    assert len(wanted) == 5 + len(given_)
    assert secret_keys(credentials(spec(case), given_)) == set(wanted)


@given(st.from_regex(r"[a-z]([-a-z0-9]{0,51}[a-z0-9])?", fullmatch=True), st.sampled_from(sorted(PROFILES)))
def test_the_credentials_fit_a_server_of_any_name(name, profile):
    data = {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": name}}
    named = document.validate(data, "file")
    documents, _ = manifests(named, PROFILES[profile], "team-a")
    assert secret_keys(credentials(named, {})) == set(
        references(yaml.load(documents[f"Deployment/{name}"], Loader=LOADER))
    )


@pytest.mark.parametrize("case", CASES)
def test_the_credentials_are_complete(case):
    admin, server = yaml.safe_load_all(credentials(spec(case), {}))
    assert [item["kind"] for item in (admin, server)] == ["Secret", "Secret"]
    assert admin["stringData"]["username"] == "admin"
    generated = [value for key, value in {**admin["stringData"], **server["stringData"]}.items() if key != "username"]
    assert all(len(value) >= 24 and value.isascii() for value in generated)
    assert len(base64.urlsafe_b64decode(server["stringData"]["webhook-key"])) == 32


@pytest.mark.parametrize("case", CASES)
def test_the_pod_finds_its_account_files_and_volume(case):
    items = objects(case)
    pod = one(items, "Deployment")["spec"]["template"]["spec"]
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert pod["serviceAccountName"] in names(items, "ServiceAccount")
    assert {mount["name"] for mount in pod["containers"][0]["volumeMounts"]} == set(volumes)
    claims = [claim["claimName"] for volume in volumes.values() if (claim := volume.get("persistentVolumeClaim"))]
    assert claims == ([] if case.endswith("external-s3") else ["mlflow-data"])
    assert set(claims) == names(items, "PersistentVolumeClaim")
    files = one(items, "ConfigMap")
    sources = volumes["files"].get("projected", {}).get("sources", [volumes["files"]])
    assert sources[0]["configMap"]["name"] == files["metadata"]["name"]
    assert {item["key"] for item in sources[0]["configMap"]["items"]} == set(files["data"])


@pytest.mark.parametrize("case", CASES)
def test_every_path_in_the_environment_and_command_is_mounted(case):
    container = one(objects(case), "Deployment")["spec"]["template"]["spec"]["containers"][0]
    mounts = tuple(mount["mountPath"] for mount in container["volumeMounts"])
    values = [item.get("value", "").removeprefix("sqlite:///") for item in container["env"]] + container["command"]
    paths = [value for value in values if value.startswith("/")]
    assert len(paths) >= 4
    assert all(path.startswith(mounts) or path == "/dev/null" for path in paths)


@pytest.mark.parametrize("case", CASES)
def test_service_deployment_and_network_policy_select_the_pod(case):
    items = objects(case)
    deployment, service, policy = (one(items, kind) for kind in ("Deployment", "Service", "NetworkPolicy"))
    labels = deployment["spec"]["template"]["metadata"]["labels"].items()
    assert deployment["spec"]["selector"]["matchLabels"].items() <= labels
    assert service["spec"]["selector"].items() <= labels
    assert policy["spec"]["podSelector"]["matchLabels"].items() <= labels
    ports = {
        port["name"]: port["containerPort"] for port in deployment["spec"]["template"]["spec"]["containers"][0]["ports"]
    }
    assert [port["targetPort"] for port in service["spec"]["ports"] if "targetPort" in port] == list(ports)
    assert {port["port"] for port in policy["spec"]["ingress"][0]["ports"]} == set(ports.values())


@pytest.mark.parametrize("case", [case for case in CASES if "-none-" not in case])
def test_the_exposure_leads_to_the_service(case):
    items = objects(case)
    service = one(items, "Service")
    port = service["spec"]["ports"][0]["name"]
    if "ingress" in case:
        backend = one(items, "Ingress")["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]
        assert backend == {"name": service["metadata"]["name"], "port": {"name": port}}
    elif "gateway" in case:
        (backend,) = one(items, "HTTPRoute")["spec"]["rules"][0]["backendRefs"]
        assert (backend["kind"], backend["name"]) == ("Service", service["metadata"]["name"])
        assert backend["port"] == service["spec"]["ports"][0]["port"]
    else:
        route = one(items, "Route")["spec"]
        assert (route["to"]["name"], route["port"]["targetPort"]) == (service["metadata"]["name"], port)


@pytest.mark.parametrize("case", [case for case in CASES if "-none-" in case])
def test_without_exposure_no_address_exists_and_only_the_server_s_pods_may_connect(case):
    items = objects(case)
    assert not names(items, "Ingress") | names(items, "Route") | names(items, "HTTPRoute")
    (rule,) = one(items, "NetworkPolicy")["spec"]["ingress"]
    assert [list(peer) for peer in rule["from"]] == [["podSelector"]]


@pytest.mark.parametrize("case", CASES)
def test_a_pod_is_closed_by_default(case):
    pod = one(objects(case), "Deployment")["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["containers"][0]["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_a_host_is_predicted_only_if_it_is_needed_and_not_given():
    guessed = {case: manifests(spec(case), PROFILES[CASES[case][0]], "team-a")[1] for case in CASES}
    assert {case: host for case, host in guessed.items() if host} == {
        "rahti-route-sqlite-volume": "mlflow-team-a.2.rahtiapp.fi",
        "rahti-route-allowed": "mlflow-team-a.2.rahtiapp.fi",
        "rahti-route-external-volume": "mlflow-team-a.2.rahtiapp.fi",
        "lumi-k-route-sqlite-volume": "mlflow-team-a.apps.lumi-k.eu",
        "rahti-route-sqlite-s3": "mlflow-team-a.2.rahtiapp.fi",
        "lumi-k-route-sqlite-s3": "mlflow-team-a.apps.lumi-k.eu",
        "lumi-k-route-allowed": "mlflow-team-a.apps.lumi-k.eu",
    }


@pytest.mark.parametrize("exposure", ["ingress", "gateway"])
def test_a_placeholder_replaces_a_host_that_cannot_be_predicted(exposure):
    fields = {"gateway": "ingress/shared"} if exposure == "gateway" else {}
    data = {"apiVersion": API_VERSION, "kind": KIND, "spec": {"exposure": {"type": exposure, **fields}}}
    documents, guessed = manifests(document.validate(data, "file"), PROFILES["kubernetes"], "team-a")
    assert guessed == "mlflow.example.org"
    assert any(guessed in text for key, text in documents.items() if key.startswith(("Ingress/", "HTTPRoute/")))


HATCHED = objects("kubernetes-ingress-hatches")


def test_private_certificates_are_mounted_where_the_environment_names_them():
    pod = one(HATCHED, "Deployment")["spec"]["template"]["spec"]
    files = next(volume for volume in pod["volumes"] if volume["name"] == "files")["projected"]["sources"]
    mount = next(mount for mount in pod["containers"][0]["volumeMounts"] if mount["name"] == "files")
    (certificates,) = [source["configMap"] for source in files if source["configMap"]["name"] == "authorities"]
    path = f"{mount['mountPath']}/{certificates['items'][0]['path']}"
    environment = {item["name"]: item.get("value") for item in pod["containers"][0]["env"]}
    assert {environment[name] for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "AWS_CA_BUNDLE")} == {path}


def test_a_patch_changes_only_the_fields_that_it_names():
    parts = {**HATCHES, "patches": []}
    data = {
        "apiVersion": API_VERSION, "kind": KIND,
        "spec": {"mlflow": {"version": "3.17.2"}, "exposure": CASES["kubernetes-ingress-hatches"][1], **parts},
    }  # fmt: skip
    plain = read(manifests(document.validate(data, "file"), PROFILES["kubernetes"], "team-a")[0])
    changed = [item["kind"] for item, before in zip(HATCHED, plain, strict=True) if item != before]
    assert changed == ["Service", "Deployment"]
    container, before = (
        one(items, "Deployment")["spec"]["template"]["spec"]["containers"][0] for items in (HATCHED, plain)
    )
    assert {key for key in container if container[key] != before[key]} == {"env", "resources", "volumeMounts"}
    gone = [item for item in before["env"] if item not in container["env"]]
    assert [item["name"] for item in gone] == ["PYTHONUNBUFFERED"]


def test_an_http_route_names_the_listener_of_the_gateway():
    (parent,) = one(objects("kubernetes-gateway-listener"), "HTTPRoute")["spec"]["parentRefs"]
    assert (parent["namespace"], parent["name"], parent["sectionName"]) == ("ingress", "shared", "https")
