import json

import pytest
from hypothesis import given
from pydantic import ValidationError

from deployer.core.errors import InvalidSpec
from deployer.core.spec import document
from deployer.core.spec.fields import MAX_NAME, endpoint_problem, name_problem
from deployer.core.spec.platform import PROFILES
from deployer.core.spec.schema import S3Artifacts, Spec, json_schema

from .strategies import HEADER, documents, spec_file, specs

INGRESS = {"spec": {"exposure": {"type": "ingress"}}}
GOOD = {
    "metadata.name": ["a", "mlflow", "team-a1", "x--y", "m" * MAX_NAME],
    "metadata.labels": [{}, {"team": ""}, {"example.org/a_B.c": "x.Y_z-1"}, {"a" * 63: "b" * 63}, {"on": "yes"}],
    "spec.mlflow.version": ["3.17.0", "3.17.2", "3.18.11"],
    "spec.mlflow.image": ["ghcr.io/mlflow/mlflow:v3.17.2-full", "registry:5000/a/b@sha256:" + "0" * 64],
    "spec.auth.adminUsername": ["admin", "anna.b@example.org", "$(X)", "%(x)s", "yes", "1e3", "#1"],
    "spec.auth.defaultPermission": ["NO_PERMISSIONS", "READ", "EDIT", "MANAGE"],
    "spec.volume.size": ["1Mi", "8Gi", "999999Ti"],
    "spec.maxRequestBody": ["1Mi", "32Mi", "1024Mi", "1Gi"],
    "spec.volume.storageClass": ["standard-csi", "a.b-c"],
    "spec.networkPolicy.ingressNamespace": ["ingress-nginx", "kube-system"],
    "spec.local.port": [1024, 5000, 65535],
    "spec.local.host": [
        "node1",
        "login.example.org",
        "0.0.0.0",
        "192.0.2.7",
        "::",
        "fd00::2",
        "127.0.0.1",
        "localhost",
    ],
    "spec.local.python": ["/usr/bin/python3.12", "python3", "/opt/my tools/é/python", "/a%b/$(c)/python"],
    "spec.exposure.host": ["mlflow.example.org", "a.b", "xn--mlflw-jua.example", f"{'a' * 63}.{'b' * 63}.fi"],
    "spec.exposure.ingressClass": ["nginx"],
    "spec.exposure.tlsSecret": ["mlflow-tls"],
    "spec.exposure.issuer": ["letsencrypt", "a.b"],
    "spec.exposure.clusterIssuer": ["letsencrypt"],
    "spec.exposure.annotations": [{}, {"a": "b"}, {"example.org/a_B.c": "a: b # {{ c }}"}, {"a": "é" * 1024}],
    "spec.profile": ["kubernetes", "kind", "rahti"],
    "spec.proxy.http": ["http://proxy:3128", "https://squid.example.org/", "http://[::1]:3128"],
    "spec.proxy.https": ["http://10.0.0.1:3128"],
    "spec.proxy.noProxy": ["*", ".svc,10.0.0.0/8", "a, *.b.org:80"],
    "spec.pod.imagePullSecrets": [[], ["a"], ["a", "b.c"]],
    "spec.pod.imageMirrors": [{}, {"ghcr.io": "mirror:5000/ghcr"}, {"ghcr.io/": "a/"}],
    "spec.pod.nodeSelector": [{}, {"kubernetes.io/arch": "amd64", "gpu": ""}],
    "spec.patches": [
        [],
        [{"kind": "Deployment", "name": None, "patch": {"spec": {"replicas": 0, "strategy": None}}}],
        [{"kind": "Service", "name": "mlflow", "patch": {"spec": {"ports": [{"port": 1, "$patch": "delete"}]}}}],
        [{"kind": "Route", "name": None, "patch": {"metadata": {"annotations": {"a": "b"}, "labels": {"c": "d"}}}}],
    ],
}
BAD = {
    "metadata.name": [
        *("", "A", "1a", "-a", "a-", "a.b", "a_b", "a b", " a", "a\n", "a/b", "../a", "é", "m" * (MAX_NAME + 1)),
        *("a\x00", "{{a}}", "\U0001f600", 5, True, [], {}, 1.5),
    ],
    "metadata.labels": [
        *({"": "a"}, {"a b": "c"}, {"a": "b c"}, {"-a": "b"}, {"a": "b-"}, {"a": "x" * 64}, {"a" * 64: "x"}),
        *({"a": "b\n"}, {"a\n": "b"}, {"a/b/c": "d"}, {"/a": "b"}, {"A.org/a": "b"}, {"a": "é"}, {"é": "a"}),
        *({"a..b/c": "d"}, {"a-.b/c": "d"}, {"app.kubernetes.io/name": "x"}, {"mlflow-deployer.github.io/a": "x"}),
        *({"a": 1}, {"a": True}, {"a": None}, {"a": []}, [], "a", 1),
    ],
    "spec.mlflow.version": ["", "3.17", "latest", "2.9.0", "3.17.2\n", 3.17, 3],
    "spec.mlflow.image": [
        "",
        "a\nb",
        "a\tb",
        "\x00",
        "a\x7f",
        "a\x85b",
        "a\u2028b",
        "a" * 1025,
        "https://a/b",
        "a/B",
        1,
        [],
        {},
    ],
    "spec.auth.adminUsername": ["", " a", "a ", "a:b", "é", "a\nb", "a" * 129, "a\x7f", 1, True],
    "spec.auth.defaultPermission": ["", "read", "READ ", "ADMIN", "MANAGE\n", 1, ["READ"]],
    "spec.maxRequestBody": ["", "32", "32MB", "0Mi", "1025Mi", "2Gi", "1Ti", 32],
    "spec.volume.size": ["", "8", "8G", "8gi", "08Gi", "0Gi", "-1Gi", "1.5Gi", "8Gi\n", " 8Gi", "8 Gi", "1234567Gi", 8],
    "spec.volume.storageClass": ["", "a\nb", "a\x1bb", "a" * 1025, 1],
    "spec.networkPolicy.ingressNamespace": ["", "a\nb", "a\u2029b", 1],
    "spec.local.port": [0, 80, 1023, 65536, -1, 10**30, "5000", 5000.0, True, 1e400],
    "spec.local.host": [
        *(
            "",
            "a b",
            "a\n",
            "http://a",
            "a:80",
            "a/b",
            "-a",
            "a-",
            "a..b",
            "a.",
            ".a",
            "é.fi",
            "a_b",
            "*",
            "5000",
            "1.2",
        ),
        *("1.2.3.4.5", "[::1]", "fe80::1%eth0", "a" * 64, ".".join(["a" * 50] * 6), 1, True, []),
    ],
    "spec.local.python": ["", "a\nb", "\x00", 3.12],
    "spec.exposure.host": [
        *("", "localhost", "a", "A.example.org", "a.example.org.", ".a.b", "a..b", "-a.b", "a-.b", "a_b.c", "a.b:80"),
        *("https://a.b", "a.b/c", "a.b\n", " a.b", "*.a.b", "é.fi", f"{'a' * 64}.fi", ".".join(["a" * 50] * 6), 1),
    ],
    "spec.exposure.ingressClass": ["", "a\nb", 1],
    "spec.exposure.tlsSecret": ["", "a\rb", 1],
    "spec.exposure.issuer": ["", "A", "a\n", 1],
    "spec.exposure.clusterIssuer": ["", "a b", []],
    "spec.exposure.annotations": [
        *(
            {"": "a"},
            {"a b": "c"},
            {"a\n": "c"},
            {"mlflow-deployer.github.io/a": "b"},
            {"a": "b\n"},
            {"a": 1},
            {"a": None},
        ),
        *({"a": "\x1b"}, {"a/b/c": "d"}, [], "a"),
    ],
    "spec.profile": ["", "openstack", "Rahti", "local", 1, []],
    "spec.proxy.http": [
        *("", "proxy:3128", "ftp://a", "http://", "http://a b", "http://é", "http://a\n", 1, []),
        *("http://anna:secret@proxy:3128", "http://@a"),
    ],
    "spec.proxy.https": ["socks5://a:1", "HTTPS://a"],
    "spec.proxy.noProxy": ["", "a\nb", "a b", "http://a", 1, ["a"]],
    "spec.pod.imagePullSecrets": ["a", {}, ["A"], [""], [1], [None]],
    "spec.pod.imageMirrors": [
        [],
        "a",
        {"": "a"},
        {"a": ""},
        {"a b": "c"},
        {"a": "b\n"},
        {"a": 1},
        {"a": None},
        {"a": "/b"},
    ],
    "spec.pod.nodeSelector": [[], {"a b": "c"}, {"a": "b c"}, {"a": 1}, {"a": None}],
    "spec.pod.trustedCa": [{}, {"key": "a"}, {"configMap": "A"}, "a"],
    "spec.patches": [
        *({}, "a", ["a"], [{}], [{"kind": "Pod", "patch": {}}], [{"kind": "Service", "patch": []}]),
        *([{"kind": "Service", "name": "A", "patch": {}}], [{"kind": "Service", "patch": {1: "a"}}]),
    ],
    "spec.exposure.type": ["", "Ingress", "loadbalancer", 1, [], {}],
}


def value_at(data, path):
    for key in path.split("."):
        data = data[key]
    return data


def around(path):
    return INGRESS if path.startswith("spec.exposure.") else {}


@pytest.mark.parametrize(("path", "value"), [(path, value) for path, values in GOOD.items() for value in values])
def test_a_good_value_is_accepted_unchanged(path, value):
    spec = document.validate(spec_file(path, value, around(path)), "file")
    assert value_at(spec.document(), path) == value


@pytest.mark.parametrize(("path", "value"), [(path, value) for path, values in BAD.items() for value in values])
def test_a_bad_value_is_refused_by_its_path(path, value):
    with pytest.raises(InvalidSpec) as refusal:
        document.validate(spec_file(path, value, around(path)), "file")
    assert len(refusal.value.problems) == (2 if value == [{}] else 1)  # two fields of an empty patch are missing
    assert all(problem.path.startswith(path) and problem.message for problem in refusal.value.problems)


@pytest.mark.parametrize("url", ["http://anna:S3cret-x@proxy:3128", "S3cret-x"])
def test_a_proxy_s_password_is_refused_and_not_shown(url):
    with pytest.raises(InvalidSpec) as refusal:
        document.validate(spec_file("spec.proxy.https", url), "file")
    assert "S3cret" not in str(refusal.value)


@given(specs())
def test_a_spec_reads_back_from_its_own_document(spec):
    assert document.validate(json.loads(json.dumps(spec.document())), "file") == spec


@given(documents())
def test_no_given_value_is_changed(data):
    def kept(given_value, stored):
        if isinstance(given_value, dict):
            assert all(kept(value, stored[key]) for key, value in given_value.items() if value is not None)
            return True
        if isinstance(given_value, list):
            return all(kept(value, at) for value, at in zip(given_value, stored, strict=True))
        return given_value == stored

    assert kept(data, document.validate(data, "file").document())


@pytest.mark.parametrize(
    "path", ["metadata", "spec", "spec.mlflow", "spec.database", "spec.exposure", "spec.local.port"]
)
def test_a_key_without_a_value_is_an_absent_key(path):
    assert document.validate(spec_file(path, None), "file") == Spec()


def test_the_default_is_closed_and_small():
    wanted = Spec().spec
    assert Spec().name == "mlflow"
    assert wanted.auth.default_permission == "NO_PERMISSIONS"
    assert (wanted.database.type, wanted.artifacts.type, wanted.exposure) == ("sqlite", "volume", None)


def test_a_spec_cannot_be_changed_after_it_was_checked():
    with pytest.raises(ValidationError, match="frozen"):
        Spec().metadata.name = "a b"


@pytest.mark.parametrize("name", ["mlflow", "a", "a-1", "m" * MAX_NAME])
def test_a_dns_label_is_a_name(name):
    assert name_problem(name) is None


@pytest.mark.parametrize(("name", "reason"), [("m" * 54, "has 54"), ("", "DNS label"), ("a\n", "DNS label")])
def test_a_name_that_is_no_dns_label_is_refused(name, reason):
    assert reason in name_problem(name)


SCHEMA = json_schema()


def schema_objects(schema):
    yield "Spec", schema
    yield from schema["$defs"].items()


def test_the_schema_names_every_field_as_in_a_file_and_allows_no_other_field():
    schema = SCHEMA
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    for name, part in schema_objects(schema):
        assert part["additionalProperties"] is False, name
        assert not [key for key in part["properties"] if "_" in key], name
    assert json.loads(json.dumps(schema)) == schema


def test_the_schema_explains_every_field():
    unexplained = [
        (name, key)
        for name, part in schema_objects(SCHEMA)
        for key, field in part["properties"].items()
        if "description" not in field and key != "type"
    ]
    assert unexplained == []


@given(specs())
def test_a_spec_has_no_field_that_its_schema_lacks(spec):
    assert set(spec.document()) == set(SCHEMA["properties"])
    assert set(spec.document()["spec"]) == set(SCHEMA["$defs"]["ServerSpec"]["properties"])


def test_every_spec_file_begins_with_the_same_header():
    assert {key: Spec().document()[key] for key in HEADER} == HEADER


@pytest.mark.parametrize(
    ("endpoint", "problem"),
    [
        ("https://a3s.fi", None),
        ("http://127.0.0.1:8333/", None),
        ("https://[", "is not a URL"),
        ("https://a:0", "must be a URL"),
        ("ftp://a3s.fi", "must be a URL"),
        ("https://a3s.fi/\u00e4", "must be a URL"),
        ("https://key:secret@a3s.fi", "must not hold keys"),
        ("https://a3s.fi/bucket", "without bucket or path"),
        ("https://a3s.fi?a=b", "without bucket or path"),
    ],
)
def test_an_endpoint_is_only_the_address_of_a_service(endpoint, problem):
    found = endpoint_problem(endpoint)
    assert found is None if problem is None else problem in found
    assert not found or "secret" not in found


@pytest.mark.parametrize("prefix", ["/team", "team/", "a//b", "a/../b", "."])
def test_a_prefix_is_a_path_inside_the_bucket(prefix):
    with pytest.raises(ValidationError, match="must be a path"):
        S3Artifacts(type="s3", bucket="bucket", prefix=prefix)


def test_a_spec_can_name_every_profile_and_no_other():
    (named,) = [
        part for part in json_schema()["$defs"]["ServerSpec"]["properties"]["profile"]["anyOf"] if "enum" in part
    ]
    assert named["enum"] == [*PROFILES]
