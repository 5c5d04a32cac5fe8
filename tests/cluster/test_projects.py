"""The cluster as an OpenShift: restricted-v2, limits and projects behave like Rahti's."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.pods import bare, pod, ready, run_in
from tests.testbed.cluster import Cluster
from tests.testbed.command import CommandFailed

pytestmark = pytest.mark.full_scale

SCC = "unable to validate against any security context constraint"


@dataclass(frozen=True)
class Member:
    """A project and a user of the project."""

    cluster: Cluster
    namespace: str
    kubeconfig: Path

    def kubectl(self, *arguments: str, **given: Any) -> str:
        return self.cluster.kubectl(*arguments, f"--kubeconfig={self.kubeconfig}", **given)

    def try_pod(self, tried: dict[str, Any]) -> Any:
        dry = ("create", "--dry-run=server", "--output=json", "--filename=-")
        return json.loads(self.kubectl(*dry, input=json.dumps(tried)))

    def first_uid(self) -> int:
        found = json.loads(self.kubectl("get", "project", self.namespace, "--output=json"))
        return int(found["metadata"]["annotations"]["openshift.io/sa.scc.uid-range"].split("/")[0])


@pytest.fixture(scope="module")
def member(openshift: Cluster) -> Iterator[Member]:
    with openshift.project() as name:
        yield Member(openshift, name, openshift.user(f"ada-{name}", name))


def test_a_pod_without_settings_gets_the_project_s_user_and_rahti_s_defaults(member: Member) -> None:
    first = member.first_uid()
    member.kubectl("create", "--filename=-", input=json.dumps(bare("silent", member.namespace)))
    ready(member.cluster, member.namespace, "silent")
    found = json.loads(member.kubectl("get", "pod", "silent", "--output=json"))
    assert found["metadata"]["annotations"]["openshift.io/scc"] == "restricted-v2"
    assert found["spec"]["securityContext"] == {"fsGroup": first, "seccompProfile": {"type": "RuntimeDefault"}}
    (container,) = found["spec"]["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
        "runAsUser": first,
    }
    assert container["resources"] == {
        "limits": {"cpu": "500m", "memory": "1Gi"},
        "requests": {"cpu": "100m", "memory": "500Mi"},
    }
    said = run_in(member.cluster, member.namespace, "silent", "id")
    assert said == f"uid={first} gid=0(root) groups=0(root),{first}\n"


def with_field(tried: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """Set a field of a pod's spec, or of its container, by the field's path; return the pod."""
    place = tried["spec"]
    *parents, last = path.split(".")
    for parent in parents:
        place = place["containers"][0] if parent == "container" else place.setdefault(parent, {})
    place[last] = value
    return tried


@pytest.mark.parametrize(
    ("path", "value", "refusal"),
    [
        ("securityContext.runAsUser", 1000, rf"{SCC}.*runAsUser must be in"),
        ("container.securityContext.runAsUser", 0, rf"{SCC}.*runAsUser must be in"),
        ("securityContext.fsGroup", 1000, rf"{SCC}.*fsGroup 1000 is not an allowed group"),
        ("container.securityContext.privileged", True, rf"{SCC}.*privileges|cannot set"),
        ("container.securityContext.allowPrivilegeEscalation", True, rf"{SCC}.*privileges"),
        ("container.securityContext.runAsNonRoot", False, rf"{SCC}.*privileges"),
        ("container.securityContext.capabilities", {"add": ["SYS_ADMIN"]}, rf"{SCC}.*capabilities"),
        ("securityContext.seccompProfile", {"type": "Unconfined"}, rf"{SCC}.*seccomp"),
        ("hostNetwork", True, rf"{SCC}.*host's namespaces"),
        ("volumes", [{"name": "a", "hostPath": {"path": "/"}}], rf"{SCC}.*volumes"),
        ("container.ports", [{"containerPort": 80, "hostPort": 80}], rf"{SCC}.*host ports"),
        ("container.resources", {"limits": {"cpu": "5"}}, "maximum cpu usage per Container is 4"),
        ("container.resources", {"limits": {"cpu": "1"}, "requests": {"cpu": "100m"}}, "ratio"),
        ("container.resources", {"limits": {"memory": "8Gi"}, "requests": {"memory": "1Gi"}}, "ratio"),
        ("container.resources", {"limits": {"cpu": "4"}}, "exceeded quota"),
        # values within the limits stay unchanged
        ("container.securityContext.capabilities", {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}, None),
        ("securityContext", {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}, None),
        ("volumes", [{"name": "a", "emptyDir": {}}], None),
    ],
)
def test_a_project_accepts_only_restricted_pods(member: Member, path: str, value: Any, refusal: str | None) -> None:
    tried = with_field(bare("tried", member.namespace), path, value)
    if refusal is None:
        member.try_pod(tried)
        return
    with pytest.raises(CommandFailed, match=rf"is forbidden.*({refusal})|Invalid value.*({refusal})"):
        member.try_pod(tried)


def test_a_uid_in_the_project_s_range_is_accepted(member: Member) -> None:
    last = member.first_uid() + 9999
    made = member.try_pod(with_field(bare("tried", member.namespace), "securityContext.runAsUser", last))
    assert made["spec"]["containers"][0]["securityContext"]["runAsUser"] == last


def test_pods_outside_of_projects_are_left_alone(openshift: Cluster, namespace: str) -> None:
    asked = pod("plain", namespace)
    openshift.apply(asked)
    found = json.loads(openshift.kubectl("get", "pod", "plain", f"--namespace={namespace}", "--output=json"))
    assert found["spec"]["securityContext"] == asked["spec"]["securityContext"]
    assert found["spec"]["containers"][0]["securityContext"] == asked["spec"]["containers"][0]["securityContext"]
    assert "annotations" not in found["metadata"]


@pytest.fixture
def person(openshift: Cluster, namespace: str) -> Callable[..., str]:
    """Runs kubectl as a user without any rights."""

    def run_as(name: str, *arguments: str, **given: Any) -> str:
        kubeconfig = openshift.provider.users / f"{namespace}-{name}.kubeconfig"
        if not kubeconfig.exists():
            openshift.user(name, namespace, rules=[])
        return openshift.kubectl(*arguments, f"--kubeconfig={kubeconfig}", **given)

    return run_as


def request(name: str, description: str = "csc_project: 1000123", display_name: str = "") -> str:
    kind = {"apiVersion": "project.openshift.io/v1", "kind": "ProjectRequest", "metadata": {"name": name}}
    return json.dumps({**kind, "description": description, "displayName": display_name})


def test_a_requester_gets_a_project_and_its_admin_role(openshift: Cluster, namespace: str, person: Any) -> None:
    name = f"{namespace}-mine"
    text = "For the whole team\n\ncsc_project: 1000123\n"
    create = ("create", "--output=json", "--filename=-")
    made = json.loads(person("ada", *create, input=request(name, text, "Our team")))
    assert (made["kind"], made["metadata"]["name"], made["status"]["phase"]) == ("Project", name, "Active")
    annotations = made["metadata"]["annotations"]
    assert annotations["openshift.io/requester"] == "ada"
    assert annotations["openshift.io/display-name"] == "Our team"
    assert annotations["openshift.io/description"] == text
    assert annotations["openshift.io/sa.scc.uid-range"] == annotations["openshift.io/sa.scc.supplemental-groups"]
    assert made["metadata"]["labels"]["pod-security.kubernetes.io/warn"] == "restricted"
    assert made["metadata"]["labels"]["csc_project"] == "1000123"
    inside = f"--namespace={name}"
    assert person("ada", "auth", "can-i", "create", "routes.route.openshift.io", inside).strip() == "yes"
    found = person("ada", "get", "limitrange,resourcequota", "--output=name", inside).split()
    assert found == ["limitrange/limits", "resourcequota/quota"]
    rooted = bare("rooted", name, securityContext={"runAsUser": 0})
    with pytest.raises(CommandFailed, match="runAsUser must be in"):
        person("ada", "create", "--filename=-", input=json.dumps(rooted))
    # other users cannot see the project, and their projects get another range
    assert name in person("ada", "get", "projects", "--output=name")
    hers = f"{namespace}-hers"
    other = json.loads(person("bea", *create, input=request(hers)))["metadata"]["annotations"]
    assert other["openshift.io/sa.scc.uid-range"] != annotations["openshift.io/sa.scc.uid-range"]
    assert person("bea", "get", "projects", "--output=name").split() == [f"project.project.openshift.io/{hers}"]
    for stranger in (name, "no-such-project"):
        for verb in ("get", "delete"):
            with pytest.raises(CommandFailed, match=rf'"{stranger}" is forbidden: User "bea" cannot {verb}'):
                person("bea", verb, "project", stranger)
    with pytest.raises(CommandFailed, match=rf'AlreadyExists.*"{name}" already exists'):
        person("bea", *create, input=request(name))
    person("ada", "delete", "project", name, "--wait=false")
    person("bea", "delete", "project", hers, "--wait=false")
    gone = openshift.kubectl("get", "namespace", name, "--output=jsonpath={.status.phase}")
    assert gone == "Terminating"


@pytest.mark.parametrize(
    ("name", "description", "refusal"),
    [
        ("{}-a", "", r"Forbidden.*csc_project"),
        ("{}-a", "csc_project:", r"Forbidden.*csc_project"),
        ("{}-a", "csc_project is 1000123", r"Forbidden.*csc_project"),
        ("openshift-{}", "csc_project: 1000123", r"Forbidden.*cannot request a project with this name"),
        ("{}_a", "csc_project: 1000123", r"metadata.name: Invalid value"),
    ],
)
def test_an_invalid_project_request_is_refused(
    namespace: str, person: Any, name: str, description: str, refusal: str
) -> None:
    with pytest.raises(CommandFailed, match=refusal):
        person("ada", "create", "--filename=-", input=request(name.format(namespace), description))


def test_a_service_account_cannot_request_a_project(openshift: Cluster, namespace: str) -> None:
    token = openshift.kubectl("create", "token", "default", f"--namespace={namespace}").strip()
    # an empty kubeconfig, because the admin's certificate would win over the token
    nobody = (
        "--kubeconfig=/dev/null",
        "--server",
        openshift.api_server,
        "--certificate-authority",
        str(openshift.ca_file),
    )
    with pytest.raises(CommandFailed, match="cannot create resource"):
        openshift.kubectl(*nobody, f"--token={token}", "create", "--filename=-", input=request("by-account"))


def test_identity_headers_are_accepted_only_from_the_api_server(openshift: Cluster, namespace: str) -> None:
    openshift.user("eve", namespace)
    pair = openshift.provider.users / f"{namespace}-eve"
    ask = ("get", "service", "projects", "--namespace=openshift-apiserver", "--output=jsonpath={.spec.clusterIP}")
    url = f"https://{openshift.kubectl(*ask)}/apis/project.openshift.io/v1/projects"
    claim = ("--insecure", "--header", "X-Remote-User: admin", "--header", "X-Remote-Group: system:masters")
    # without a certificate, and with a certificate of the right authority for another name
    for identity in ((), ("--cert", f"{pair}.crt", "--key", f"{pair}.key")):
        command = ["curl", "--silent", "--output", "/dev/null", "--write-out", "%{http_code}", *claim, *identity, url]
        assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "401"
