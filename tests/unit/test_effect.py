"""A field of a spec is idle if, and only if, other values change neither the manifests nor the server."""

import pytest

from deployer.cli.effective import effective
from deployer.cli.spec_options import spec_from
from deployer.core.errors import InvalidSpec, UsageError
from deployer.core.spec import document
from deployer.core.spec.effect import idle, idle_anyway
from deployer.core.spec.platform import KUBERNETES, LOCAL, PROFILES, RAHTI
from deployer.core.spec.schema import Spec
from deployer.core.stack.assigned import Assigned
from deployer.core.stack.components import build
from deployer.operations.render import manifests

from .strategies import HEADER, spec_file
from .test_hostile import leaves

S3 = {"type": "s3", "bucket": "team-mlflow"}
INGRESS = {"exposure": {"type": "ingress", "host": "a.example.org"}}
ROUTE = {"exposure": {"type": "route", "host": "a.example.org"}}
GATEWAY = {"exposure": {"type": "gateway", "host": "a.example.org", "gateway": "a/b"}}
WITHOUT_VOLUME = {"database": {"type": "external"}, "artifacts": S3}
PATCH = {"kind": "Service", "patch": {"metadata": {"annotations": {"a": "b"}}}}

# every field with another value than its default, and the other fields that it needs
SAMPLES = [
    ("metadata.labels", {"a": "b"}, {}),
    ("spec.profile", "rahti", {}),
    ("spec.mlflow.version", "3.18.0", {}),
    ("spec.mlflow.image", "quay.io/a/b:c", {}),
    ("spec.workers", 2, {}),
    ("spec.accessLog", True, {}),
    ("spec.auth.adminUsername", "anna", {}),
    ("spec.auth.defaultPermission", "READ", {}),
    ("spec.database", {"type": "external"}, {}),
    ("spec.artifacts", S3, {}),
    ("spec.artifacts.bucket", "another", {"artifacts": S3}),
    ("spec.artifacts.prefix", "a", {"artifacts": S3}),
    ("spec.artifacts.endpoint", "https://s3.example.org", {"artifacts": S3}),
    ("spec.artifacts.region", "eu", {"artifacts": S3}),
    ("spec.artifacts.transfer", "direct", {"artifacts": S3}),
    ("spec.artifacts.scratch", "30Gi", {"artifacts": S3}),
    ("spec.volume.size", "20Gi", {}),
    ("spec.volume.size", "20Gi", WITHOUT_VOLUME),
    ("spec.volume.storageClass", "fast", {}),
    ("spec.volume.storageClass", "fast", WITHOUT_VOLUME),
    ("spec.exposure.host", "b.example.org", INGRESS),
    ("spec.exposure.ingressClass", "nginx", INGRESS),
    ("spec.exposure.tlsSecret", "mine", INGRESS),
    ("spec.exposure.issuer", "mine", INGRESS),
    ("spec.exposure.clusterIssuer", "mine", INGRESS),
    ("spec.exposure.annotations", {"a": "b"}, INGRESS),
    ("spec.exposure.gateway", "c/d", GATEWAY),
    ("spec.exposure.listener", "https", GATEWAY),
    ("spec.exposure.allowFrom", ["roihu"], ROUTE),
    ("spec.exposure.type", "none", {"exposure": {"type": "none"}}),
    ("spec.networkPolicy.ingressNamespace", "edge", {}),
    ("spec.networkPolicy.ingressNamespace", "edge", {"exposure": {"type": "none"}}),
    ("spec.maxRequestBody", "64Mi", {}),
    ("spec.proxy.http", "http://a:1", {}),
    ("spec.proxy.https", "http://a:1", {}),
    ("spec.proxy.noProxy", "a", {"proxy": {"http": "http://a:1"}}),
    ("spec.pod.imagePullSecrets", ["a"], {}),
    ("spec.pod.imageMirrors", {"ghcr.io": "m.org"}, {}),
    ("spec.pod.nodeSelector", {"a": "b"}, {}),
    ("spec.pod.trustedCa", {"configMap": "a"}, {}),
    ("spec.patches", [PATCH], {}),
    ("spec.local.port", 8080, {}),
    ("spec.local.host", "0.0.0.0", {}),
    ("spec.local.python", "/usr/bin/python3", {}),
]
CASES = [
    (path, value, base, RAHTI if base is ROUTE else platform)
    for path, value, base in SAMPLES
    for platform in (LOCAL, KUBERNETES)
    # fields that this machine refuses are in test_support.py
    if platform.pods or not (path == "spec.pod.trustedCa" or "exposure" in base)
]


def validated(data):
    return document.validate(data, "file")


def effects(spec, platform):
    """Return all effects of a spec: its manifests on a cluster, its workload on this machine."""
    who = spec.spec.auth.admin_username
    if platform.pods:
        return manifests(spec, PROFILES[spec.spec.profile or platform.name], "team"), who
    server = build(spec, LOCAL, Assigned(ports={"http": 5000})).workloads[0]
    return server.package, server.command, server.env, server.files, spec.spec.local, who


@pytest.mark.parametrize(
    ("path", "value", "base", "platform"), CASES, ids=[f"{path}-{platform.name}" for path, _, _, platform in CASES]
)
def test_a_field_is_idle_exactly_if_other_values_change_nothing(path, value, base, platform):
    before, after = validated({**HEADER, "spec": base}), validated(spec_file(path, value, {"spec": base}))
    found = [each.path for each in idle(after, platform)]
    if before == after:
        assert found == []
    else:
        assert found == ([] if effects(before, platform) != effects(after, platform) else [path])
        assert bool(idle_anyway(after, platform, path)) == bool(found)


def test_the_samples_cover_every_field():
    tried = {path for path, _, _ in SAMPLES}
    known = {
        field
        for base in (INGRESS, ROUTE, GATEWAY, {"artifacts": S3})
        for field in leaves(validated({**HEADER, "spec": base}))
    }
    known -= {"apiVersion", "kind", "metadata.name"}
    known -= {"spec.database.type", "spec.artifacts.type"}  # tried as a whole
    assert known - {"spec.exposure", "spec.exposure.allowEveryone"} <= tried


@pytest.mark.parametrize("platform", [LOCAL, *PROFILES.values()], ids=lambda platform: platform.name)
def test_the_default_spec_has_no_idle_field(platform):
    assert idle(Spec(), platform) == ()


def test_proxy_exceptions_need_a_proxy_on_a_cluster():
    wanted = validated({**HEADER, "spec": {"proxy": {"noProxy": "a"}}})
    assert [each.path for each in idle(wanted, KUBERNETES)] == ["spec.proxy.noProxy"]
    assert idle(wanted, LOCAL) == ()  # the server inherits the machine's own proxy


@pytest.mark.parametrize(
    ("exposure", "found"),
    [
        ({"allowFrom": ["roihu"], "allowEveryone": True}, ["spec.exposure.allowEveryone"]),
        ({"allowFrom": ["0.0.0.0/0"], "allowEveryone": True}, []),
        ({"allowEveryone": True}, []),
    ],
)
def test_allow_everyone_contradicts_a_list_of_networks(exposure, found):
    wanted = validated({**HEADER, "spec": {"exposure": {"type": "route", **exposure}}})
    assert [each.path for each in idle(wanted, RAHTI)] == found


OLD = validated(spec_file("spec.volume.storageClass", "a", {"metadata": {"labels": {"team": "a"}}}))


def test_idle_fields_that_an_earlier_release_stored_are_dropped_with_a_note(capsys):
    spec, _ = spec_from(None, None, {"spec.workers": 2}, OLD)
    kept = effective(spec, LOCAL, {"spec.workers": 2}, OLD)
    assert kept == validated(spec_file("spec.workers", 2))
    said = capsys.readouterr().err.splitlines()
    assert [line.partition(": ")[2].split()[0] for line in said] == ["metadata.labels", "spec.volume.storageClass"]
    assert effective(OLD, KUBERNETES, {}, OLD) == OLD


def test_an_idle_line_of_a_file_is_only_noted_if_it_is_already_stored(capsys):
    assert effective(OLD, LOCAL, {}, OLD, "my.yaml", b"a: 1") == OLD
    assert "my.yaml: spec.volume.storageClass needs a cluster" in capsys.readouterr().err
    raw = b"kind: MLflowServer\nspec:\n  volume:\n    storageClass: a\n"
    with pytest.raises(InvalidSpec, match=r"line 4: spec\.volume\.storageClass: needs a cluster"):
        effective(validated(spec_file("spec.volume.storageClass", "a")), LOCAL, {}, None, "my.yaml", raw)


CLUSTER_FLAGS = [
    ("spec.local.port", 5000, "--port 5000 is for servers on this machine"),
    ("spec.local.python", "/usr/bin/python3", "--python /usr/bin/python3 is for servers on this machine"),
]


@pytest.mark.parametrize(("path", "value", "words"), CLUSTER_FLAGS)
def test_a_flag_of_this_machine_is_refused_on_a_cluster(path, value, words):
    spec, _ = spec_from(None, None, {path: value}, None)
    with pytest.raises(UsageError, match=words):
        effective(spec, KUBERNETES, {path: value}, None)


def test_a_volume_size_is_refused_without_a_volume():
    stored = validated({**HEADER, "spec": WITHOUT_VOLUME})
    for value in ("20Gi", "10Gi"):  # the second is the default, but it was given explicitly
        spec, _ = spec_from(None, None, {"spec.volume.size": value}, stored)
        with pytest.raises(UsageError, match=f"--volume-size {value} needs a volume"):
            effective(spec, KUBERNETES, {"spec.volume.size": value}, stored)


@pytest.mark.parametrize(
    ("flags", "stored", "words"),
    [
        (
            {"spec.exposure.allowFrom": ["10.0.0.0/8"], "spec.exposure.type": "ingress"},
            {},
            "--allow-from 10.0.0.0/8 needs a Route",
        ),
        ({"spec.exposure.tlsSecret": "a", "spec.exposure.gateway": "a/b"}, {}, "--tls-secret a needs an Ingress"),
        ({"spec.exposure.ingressClass": "a", "spec.exposure.type": "none"}, {}, "--ingress-class a needs an Ingress"),
        ({"spec.exposure.allowEveryone": True}, INGRESS, "--allow-everyone needs a Route"),
        ({"spec.exposure.host": "a.b", "spec.exposure.type": "none"}, {}, "--host a.b needs a public address"),
        ({"spec.exposure.type": "gateway"}, {}, "--expose gateway needs a Gateway"),
        ({"spec.artifacts.transfer": "direct"}, {}, "--transfer direct needs a bucket"),
        ({"spec.artifacts.region": "eu"}, {}, "--s3-region eu needs a bucket"),
        ({"spec.artifacts.prefix": "a"}, {}, "--s3-prefix a needs a bucket"),
        ({"spec.artifacts.endpoint": "https://a.b"}, {}, "--s3-endpoint needs a bucket"),
    ],
)
def test_a_flag_without_its_counterpart_is_refused_with_a_hint(flags, stored, words):
    with pytest.raises(UsageError, match=words) as refused:
        spec_from(None, None, flags, validated({**HEADER, "spec": stored}) if stored else None)
    assert refused.value.hint
    assert "spec." not in refused.value.message


@pytest.mark.parametrize(
    ("flags", "stored", "kind"),
    [
        ({"spec.artifacts.transfer": "direct"}, {"artifacts": S3}, None),
        ({"spec.exposure.gateway": "a/b"}, INGRESS, "gateway"),
        ({"spec.exposure.tlsSecret": "a"}, {}, "ingress"),
        ({"spec.exposure.allowFrom": ["roihu"]}, {}, "route"),
        ({"spec.exposure.host": "a.b"}, {"exposure": {"type": "none"}}, "ingress"),
    ],
)
def test_a_flag_is_accepted_if_its_counterpart_is_stored_or_implied(flags, stored, kind):
    spec, _ = spec_from(None, None, flags, validated({**HEADER, "spec": stored}))
    assert getattr(spec.spec.exposure, "type", None) == kind
