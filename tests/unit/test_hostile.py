"""Every value that a spec accepts is written unchanged; any other value is refused with the path of its field."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from deployer import catalogue
from deployer.core.errors import InvalidSpec
from deployer.core.spec import bypass, document
from deployer.core.spec.platform import KUBERNETES, RAHTI, Platform
from deployer.core.spec.schema import API_VERSION, KIND
from deployer.core.spec.support import require_supported
from deployer.operations import render
from deployer.operations.render import credentials, manifests

from .readers import expand, judged, read_ini, read_yaml
from .strategies import HAZARDS, RENDERED_KINDS, around, hostile, patches, spec_file

_HASH = re.compile(r'files-hash": "[0-9a-f]{64}"')
NAME = r"[a-z]([-a-z0-9]{0,51}[a-z0-9])?"
HOST = r"[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?){1,3}"
PROXY = r"https?://[a-z0-9]([-a-z0-9.]{0,20}[a-z0-9])?:[0-9]{1,5}"
LABEL = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"


@pytest.fixture(scope="module", autouse=True)
def short_programs():
    """Shorten the server's programs to one line each: their real texts would take most of the time."""
    data = catalogue.catalogue()
    short = replace(data, plugins={name: f"# {name}\n" for name in data.plugins})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(render, "catalogue", lambda: short)
        yield


class Rendered:
    """The manifests of a spec, each parsed once, on first use."""

    def __init__(self, spec, platform):
        self._documents, _ = manifests(spec, platform, "team-a")
        self._read = {}
        self.secrets = list(yaml.safe_load_all(credentials(spec, {})))

    def kinds(self):
        return [key.partition("/")[0] for key in self._documents]

    def one(self, kind):
        if kind not in self._read:
            (text,) = [text for key, text in self._documents.items() if key.startswith(f"{kind}/")]
            self._read[kind] = read_yaml(text)
        return self._read[kind]

    def pod(self):
        return self.one("Deployment")["spec"]["template"]["spec"]

    def router(self):
        """Return the name of the only other namespace that the network policy admits."""
        (name,) = self.one("NetworkPolicy")["spec"]["ingress"][0]["from"][1]["namespaceSelector"][
            "matchLabels"
        ].values()
        return name

    def environment(self):
        plain = {item["name"]: item["value"] for item in self.pod()["containers"][0]["env"] if "value" in item}
        return {name: expand(value, plain) for name, value in plain.items()}


@dataclass(frozen=True)
class Field:
    """A field that a user can set: the values to try, and every place where the value must appear."""

    path: str
    values: st.SearchStrategy[Any]
    seen: Callable[[Rendered], list[Any]]
    platform: Platform = KUBERNETES
    base: dict[str, Any] = field(default_factory=dict)


def ingress(rendered):
    return rendered.one("Ingress")["spec"]


def annotation(rendered, kind, key):
    return rendered.one(kind)["metadata"]["annotations"][key]


def parent(rendered):
    return rendered.one("HTTPRoute")["spec"]["parentRefs"][0]


def certificates(rendered):
    (files,) = [volume["projected"] for volume in rendered.pod()["volumes"] if volume["name"] == "files"]
    return files["sources"][1]["configMap"]


def proxy(name):
    return lambda rendered: [rendered.environment()[name], rendered.environment()[name.lower()]]


def allowed_host(rendered):
    return rendered.environment()["MLFLOW_SERVER_ALLOWED_HOSTS"].split(",")[0]


S3 = {"spec": {"artifacts": {"type": "s3", "bucket": "team-mlflow"}}}
INGRESS = {"spec": {"exposure": {"type": "ingress", "host": "mlflow.example.org"}}}
ROUTE = {"spec": {"exposure": {"type": "route"}}}
GATEWAY = {"spec": {"exposure": {"type": "gateway", "host": "mlflow.example.org", "gateway": "edge/shared"}}}
TRUSTED = {"spec": {"pod": {"trustedCa": {"configMap": "authorities"}}}}
FIELDS = (
    Field(
        "metadata.name",
        around(NAME),
        lambda rendered: (
            [rendered.one(kind)["metadata"]["name"] for kind in ("Deployment", "Service", "Ingress")]
            + [rendered.pod()["serviceAccountName"], rendered.secrets[0]["metadata"]["name"].removesuffix("-admin")]
            + [rendered.pod()["volumes"][2]["persistentVolumeClaim"]["claimName"].removesuffix("-data")]
        ),
    ),
    Field(
        "spec.mlflow.version",
        around(r"3\.1[78]\.[0-9]{1,4}"),
        lambda rendered: [rendered.pod()["containers"][0]["image"].partition(":v")[2].removesuffix("-full")],
    ),
    Field(
        "spec.mlflow.image",
        around(r"[a-z]{1,9}\.io/[a-z]{1,9}:[a-z0-9.]{1,9}"),
        lambda rendered: [rendered.pod()["containers"][0]["image"]],
    ),
    Field(
        "spec.auth.adminUsername",
        around(r"[!-9;-~]([ -9;-~]{0,126}[!-9;-~])?"),
        lambda rendered: [rendered.secrets[0]["stringData"]["username"]],
    ),
    Field(
        "spec.auth.defaultPermission",
        around("NO_PERMISSIONS|READ|EDIT|MANAGE"),
        lambda rendered: [read_ini(rendered.one("ConfigMap")["data"]["basic_auth.ini"])["default_permission"]],
    ),
    Field(
        "spec.volume.size",
        around(r"[1-9][0-9]{0,5}(Mi|Gi|Ti)"),
        lambda rendered: [rendered.one("PersistentVolumeClaim")["spec"]["resources"]["requests"]["storage"]],
    ),
    Field(
        "spec.volume.storageClass",
        around(NAME),
        lambda rendered: [rendered.one("PersistentVolumeClaim")["spec"]["storageClassName"]],
        platform=RAHTI,
    ),
    Field(
        "spec.networkPolicy.ingressNamespace",
        around(NAME),
        lambda rendered: [rendered.router()],
    ),
    Field(
        "spec.exposure.host",
        around(HOST),
        lambda rendered: [
            ingress(rendered)["rules"][0]["host"],
            ingress(rendered)["tls"][0]["hosts"][0],
            allowed_host(rendered),
        ],
        base=INGRESS,
    ),
    Field(
        "spec.exposure.ingressClass",
        around(NAME),
        lambda rendered: [ingress(rendered)["ingressClassName"]],
        base=INGRESS,
    ),
    Field(
        "spec.exposure.tlsSecret",
        around(NAME),
        lambda rendered: [ingress(rendered)["tls"][0]["secretName"]],
        base=INGRESS,
    ),
    Field(
        "spec.exposure.host",
        around(HOST),
        lambda rendered: [rendered.one("Route")["spec"]["host"], allowed_host(rendered)],
        platform=RAHTI,
        base=ROUTE,
    ),
    Field(
        "spec.exposure.host",
        around(HOST),
        lambda rendered: [rendered.one("HTTPRoute")["spec"]["hostnames"][0], allowed_host(rendered)],
        base=GATEWAY,
    ),
    Field(
        "spec.exposure.gateway",
        around(rf"{NAME}/{NAME}"),
        lambda rendered: [
            f"{parent(rendered)['namespace']}/{parent(rendered)['name']}",
            rendered.router() + "/" + parent(rendered)["name"],
        ],
        base=GATEWAY,
    ),
    Field("spec.exposure.listener", around(NAME), lambda rendered: [parent(rendered)["sectionName"]], base=GATEWAY),
    Field(
        "spec.exposure.issuer",
        around(NAME),
        lambda rendered: [annotation(rendered, "Ingress", "cert-manager.io/issuer")],
        base=INGRESS,
    ),
    Field(
        "spec.exposure.clusterIssuer",
        around(NAME),
        lambda rendered: [annotation(rendered, "Ingress", "cert-manager.io/cluster-issuer")],
        base=INGRESS,
    ),
    *(
        Field(
            "spec.exposure.annotations.note",
            hostile,
            lambda rendered, kind=kind: [annotation(rendered, kind, "note")],
            platform=platform,
            base=base,
        )
        for kind, platform, base in (
            ("Ingress", KUBERNETES, INGRESS),
            ("HTTPRoute", KUBERNETES, GATEWAY),
            ("Route", RAHTI, ROUTE),
        )
    ),
    Field("spec.proxy.http", around(PROXY), proxy("HTTP_PROXY")),
    Field("spec.proxy.https", around(PROXY), proxy("HTTPS_PROXY")),
    Field(
        "spec.proxy.noProxy",
        # other spellings are written in the spelling that all clients read (test_bypass.py)
        around(r"\.?[a-z]{1,9}\.org(,10\.0\.0\.0/8)?(,a:[1-9])?").filter(lambda text: bypass.written(text) == text),
        proxy("NO_PROXY"),
    ),
    Field(
        "spec.pod.imagePullSecrets",
        st.lists(around(NAME), min_size=1, max_size=3),
        lambda rendered: [[item["name"] for item in rendered.pod()["imagePullSecrets"]]],
    ),
    Field(
        "spec.pod.nodeSelector",
        st.dictionaries(around(LABEL), around(LABEL), min_size=1, max_size=3),
        lambda rendered: [rendered.pod()["nodeSelector"]],
    ),
    Field(
        "spec.artifacts.bucket",
        around(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"),
        lambda rendered: [rendered.environment()["MLFLOW_ARTIFACTS_DESTINATION"].removeprefix("s3://")],
        base=S3,
    ),
    Field(
        "spec.artifacts.prefix",
        around(r"[A-Za-z0-9!_*'()-]{1,9}(/[a-z.]{3,9}){0,3}"),
        lambda rendered: [rendered.environment()["MLFLOW_ARTIFACTS_DESTINATION"].removeprefix("s3://team-mlflow/")],
        base=S3,
    ),
    Field(
        "spec.artifacts.endpoint",
        around(r"https?://[a-z]{1,9}\.[a-z]{2,9}(:[1-9][0-9]{0,3})?"),
        lambda rendered: [rendered.environment()["MLFLOW_S3_ENDPOINT_URL"]],
        base=S3,
    ),
    Field(
        "spec.artifacts.region",
        around(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}"),
        lambda rendered: [rendered.environment()["AWS_DEFAULT_REGION"]],
        base=S3,
    ),
    Field(
        "spec.artifacts.scratch",
        around(r"[1-9][0-9]{0,5}(Mi|Gi|Ti)"),
        lambda rendered: [
            volume["emptyDir"]["sizeLimit"] for volume in rendered.pod()["volumes"] if volume["name"] == "tmp"
        ],
        base=S3,
    ),
    Field(
        "spec.pod.trustedCa.configMap", around(NAME), lambda rendered: [certificates(rendered)["name"]], base=TRUSTED
    ),
    Field(
        "spec.pod.trustedCa.key", hostile, lambda rendered: [certificates(rendered)["items"][0]["key"]], base=TRUSTED
    ),
)


def accepted(field, value):
    """Return the spec with `value` in `field`, or None if it is refused, with a message about this field only."""
    spec, problems = judged(spec_file(field.path, value, field.base))
    assert all(problem.path.startswith(field.path) and problem.message for problem in problems)
    if spec is not None:
        require_supported(spec, field.platform, "file")
    return spec


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: f"{field.path}-{field.platform.name}")
@given(data=st.data())
def test_an_accepted_value_appears_unchanged_in_the_manifests(field, data):
    value = data.draw(field.values)
    spec = accepted(field, value)
    if spec is not None:
        seen = field.seen(Rendered(spec, field.platform))
        assert seen
        assert seen == [value] * len(seen)


@given(st.dictionaries(around(LABEL), around(LABEL), max_size=3))
def test_accepted_labels_are_on_every_object_and_on_the_pod(labels):
    field = Field("metadata.labels", hostile, lambda rendered: [])
    spec = accepted(field, labels)
    if spec is not None:
        rendered = Rendered(spec, KUBERNETES)
        objects = [rendered.one(kind) for kind in rendered.kinds()]
        for metadata in [
            *(item["metadata"] for item in objects),
            rendered.one("Deployment")["spec"]["template"]["metadata"],
        ]:
            assert labels.items() <= metadata["labels"].items()
            assert metadata["labels"]["app.kubernetes.io/instance"] == "mlflow"


@pytest.mark.parametrize(
    ("path", "base"),
    [
        ("spec.local.python", {}),
        ("spec.profile", {}),
        ("spec.exposure.gateway", {"spec": {"exposure": {"type": "gateway"}}}),
    ],
)
@given(value=hostile)
def test_an_accepted_value_is_stored_unchanged(path, base, value):
    spec, problems = judged(spec_file(path, value, base))
    if spec is None:
        assert [problem.path for problem in problems] == [path]
    else:
        *parents, last = path.split(".")
        part = spec.document()
        for key in parents:
            part = part[key]
        assert part[last] == value


def test_the_table_names_every_field_that_manifests_use():
    """A field that is added to the schema must be tried with hostile values, or be named here with the reason."""
    elsewhere = {
        "apiVersion": "fixed",
        "kind": "fixed",
        "metadata.labels": "on every object, below",
        "spec.database.type": "chooses fields",
        "spec.artifacts.type": "chooses fields",
        "spec.artifacts.transfer": "one of two words",
        "spec.exposure.type": "chooses fields",
        "spec.pod.imageMirrors": "part of a value, below",
        "spec.patches": "any data, below",
        "spec.exposure.allowFrom": "networks, in test_networks.py",
        "spec.exposure.allowEveryone": "a switch",
        "spec.profile": "only kept",
        "spec.local.port": "a number, on the local target",
        "spec.workers": "a number",
        "spec.maxRequestBody": "a size, in test_spec.py",
        "spec.accessLog": "a switch",
        "spec.local.python": "only kept",
        "spec.local.host": "a name, on the local target, in test_address.py",
    }
    full = {"issuer": "a", "annotations": {}}
    exposures = [{"type": "route"}, {**GATEWAY["spec"]["exposure"]}, {**INGRESS["spec"]["exposure"], **full}]
    fields = set()
    for exposure in exposures:
        wanted = {"exposure": exposure, **TRUSTED["spec"], **S3["spec"]}
        spec, _ = judged({"apiVersion": API_VERSION, "kind": KIND, "spec": wanted})
        fields |= set(leaves(spec))
    tried = {field.path.removesuffix(".note") for field in FIELDS} | set(elsewhere)
    assert fields == tried


def leaves(model, path=""):
    """Yield the path of every field that has no fields of its own."""
    for name, info in type(model).model_fields.items():
        at, value = f"{path}.{info.alias or name}".lstrip("."), getattr(model, name)
        if isinstance(value, BaseModel):
            yield from leaves(value, at)
        else:
            yield at


@given(st.dictionaries(st.one_of(st.just("ghcr.io"), hostile), hostile, min_size=1, max_size=3))
def test_a_mirror_replaces_the_mirrored_prefix_of_the_image(mirrors):
    spec = accepted(Field("spec.pod.imageMirrors", hostile, lambda rendered: []), mirrors)
    if spec is not None:
        (mirror,) = [text for prefix, text in mirrors.items() if prefix.rstrip("/") == "ghcr.io"] or ["ghcr.io"]
        image = Rendered(spec, KUBERNETES).pod()["containers"][0]["image"]
        assert image == mirror.rstrip("/") + "/mlflow/mlflow:v3.17.2-full"


@given(hostile)
def test_a_text_in_a_patch_appears_unchanged_in_the_manifests(text):
    container = {"name": "server", "env": [{"name": "X", "value": text}], "args": [text]}
    changes = [
        {"kind": "Deployment", "patch": {"spec": {"template": {"spec": {"containers": [container]}}}}},
        {"kind": "ConfigMap", "patch": {"metadata": {"annotations": {text: text}}, "data": {text: text}}},
    ]
    spec = accepted(Field("spec.patches", hostile, lambda rendered: []), changes)
    if spec is not None:
        rendered = Rendered(spec, KUBERNETES)
        (server,) = rendered.pod()["containers"]
        assert server["env"][-1] == {"name": "X", "value": text}
        assert server["args"] == [text]
        files = rendered.one("ConfigMap")
        assert files["data"][text] == text
        assert files["metadata"]["annotations"] == {text: text}
        assert files["data"].keys() >= {"launch.py", "basic_auth.ini"}


@given(st.sampled_from(RENDERED_KINDS), st.one_of(st.none(), hostile), patches)
def test_no_patch_changes_the_identity_of_an_object(kind, name, patch):
    changed = {"kind": kind, "patch": patch, **({} if name is None else {"name": name})}
    spec = accepted(Field("spec.patches", hostile, lambda rendered: []), [changed])
    if spec is not None:
        plain = spec.model_copy(update={"spec": spec.spec.model_copy(update={"patches": []})})
        before = manifests(plain, KUBERNETES, "team-a")[0]
        if not any(name in (None, key.partition("/")[2]) for key in before if key.startswith(f"{kind}/")):
            with pytest.raises(InvalidSpec, match=f"no {kind} "):
                manifests(spec, KUBERNETES, "team-a")
            return
        after = manifests(spec, KUBERNETES, "team-a")[0]
        assert list(after) == list(before)
        # the Deployment has a hash of the files, so that a changed file restarts the pod
        before, after = (
            {key: _HASH.sub('files-hash": ""', text) for key, text in rendered.items()} for rendered in (before, after)
        )
        for key in [key for key in after if after[key] != before[key]]:
            one, was = read_yaml(after[key]), read_yaml(before[key])
            assert [one[part] for part in ("apiVersion", "kind")] == [was[part] for part in ("apiVersion", "kind")]
            assert all(one["metadata"][part] == was["metadata"][part] for part in ("name", "labels"))
            assert key.partition("/")[0] == kind
            assert name in (None, one["metadata"]["name"])


@given(value=hostile.filter(lambda text: "\x00" not in text))
def test_a_value_in_a_yaml_file_is_read_unchanged(value):
    text = yaml.safe_dump(spec_file("spec.local.python", value), allow_unicode=False, width=10**6)
    assert document.parse(text.encode(), "file")["spec"]["local"]["python"] == value


@pytest.mark.parametrize("value", ["yes", "no", "null", "~", "1e3", "1.5", "012", "1:30", "2001-01-01", "true", "5"])
def test_an_unquoted_yaml_word_is_refused_or_read_as_typed(value):
    raw = f"metadata: {{labels: {{team: {value}}}}}\napiVersion: mlflow-deployer.github.io/v1alpha1\nkind: MLflowServer"
    spec, problems = judged(document.parse(raw.encode(), "file"))
    if spec is None:
        assert [problem.path for problem in problems] == ["metadata.labels.team"]
    else:
        assert spec.metadata.labels == {"team": value}


def test_most_hazards_do_not_survive_unquoted_yaml():
    def carried(text):
        try:
            return yaml.safe_load(f"a: {text}") == {"a": text}
        except yaml.YAMLError:
            return False

    assert sum(not carried(text) for text in HAZARDS) > 80
