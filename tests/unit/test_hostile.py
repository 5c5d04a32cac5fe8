"""What a spec accepts comes out of the place it is written to as the same value; the rest is refused by its path."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from deployer.core import document
from deployer.core.platform import KUBERNETES, RAHTI, Platform
from deployer.core.support import require_supported
from deployer.operations.render import credentials, manifests

from .readers import expand, judged, read_ini, read_yaml
from .strategies import HAZARDS, around, hostile, spec_file

NAME = r"[a-z]([-a-z0-9]{0,51}[a-z0-9])?"
HOST = r"[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?){1,3}"
LABEL = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"


class Drawn:
    """The manifests of a spec, read when asked for."""

    def __init__(self, spec, platform):
        self._documents, _ = manifests(spec, platform, "team-a")
        self.secrets = list(yaml.safe_load_all(credentials(spec)))

    def kinds(self):
        return [key.partition("/")[0] for key in self._documents]

    def one(self, kind):
        (text,) = [text for key, text in self._documents.items() if key.startswith(f"{kind}/")]
        return read_yaml(text)

    def pod(self):
        return self.one("Deployment")["spec"]["template"]["spec"]

    def environment(self):
        plain = {item["name"]: item["value"] for item in self.pod()["containers"][0]["env"] if "value" in item}
        return {name: expand(value, plain) for name, value in plain.items()}


@dataclass(frozen=True)
class Field:
    """A field that a person can set: what to try, and every place where its value must be found again."""

    path: str
    values: st.SearchStrategy[Any]
    seen: Callable[[Drawn], list[Any]]
    platform: Platform = KUBERNETES
    base: dict[str, Any] = field(default_factory=dict)


def ingress(drawn):
    return drawn.one("Ingress")["spec"]


def allowed_host(drawn):
    return drawn.environment()["MLFLOW_SERVER_ALLOWED_HOSTS"].split(",")[0]


INGRESS = {"spec": {"exposure": {"type": "ingress", "host": "mlflow.example.org"}}}
ROUTE = {"spec": {"exposure": {"type": "route"}}}
FIELDS = (
    Field(
        "metadata.name",
        around(NAME),
        lambda drawn: (
            [drawn.one(kind)["metadata"]["name"] for kind in ("Deployment", "Service", "Ingress")]
            + [drawn.pod()["serviceAccountName"], drawn.secrets[0]["metadata"]["name"].removesuffix("-admin")]
            + [drawn.pod()["volumes"][2]["persistentVolumeClaim"]["claimName"].removesuffix("-data")]
        ),
    ),
    Field(
        "spec.mlflow.version",
        around(r"3\.1[78]\.[0-9]{1,4}"),
        lambda drawn: [drawn.pod()["containers"][0]["image"].partition(":v")[2].removesuffix("-full")],
    ),
    Field(
        "spec.mlflow.image",
        around(r"[a-z]{1,9}\.io/[a-z]{1,9}:[a-z0-9.]{1,9}"),
        lambda drawn: [drawn.pod()["containers"][0]["image"]],
    ),
    Field(
        "spec.auth.adminUsername",
        around(r"[!-9;-~]([ -9;-~]{0,126}[!-9;-~])?"),
        lambda drawn: [drawn.secrets[0]["stringData"]["username"]],
    ),
    Field(
        "spec.auth.defaultPermission",
        around("NO_PERMISSIONS|READ|EDIT|MANAGE"),
        lambda drawn: [read_ini(drawn.one("ConfigMap")["data"]["basic_auth.ini"])["default_permission"]],
    ),
    Field(
        "spec.volume.size",
        around(r"[1-9][0-9]{0,5}(Mi|Gi|Ti)"),
        lambda drawn: [drawn.one("PersistentVolumeClaim")["spec"]["resources"]["requests"]["storage"]],
    ),
    Field(
        "spec.volume.storageClass",
        around(NAME),
        lambda drawn: [drawn.one("PersistentVolumeClaim")["spec"]["storageClassName"]],
        platform=RAHTI,
    ),
    Field(
        "spec.networkPolicy.ingressNamespace",
        around(NAME),
        lambda drawn: list(
            drawn.one("NetworkPolicy")["spec"]["ingress"][0]["from"][1]["namespaceSelector"]["matchLabels"].values()
        ),
    ),
    Field(
        "spec.exposure.host",
        around(HOST),
        lambda drawn: [ingress(drawn)["rules"][0]["host"], ingress(drawn)["tls"][0]["hosts"][0], allowed_host(drawn)],
        base=INGRESS,
    ),
    Field(
        "spec.exposure.ingressClass",
        around(NAME),
        lambda drawn: [ingress(drawn)["ingressClassName"]],
        base=INGRESS,
    ),
    Field(
        "spec.exposure.tlsSecret",
        around(NAME),
        lambda drawn: [ingress(drawn)["tls"][0]["secretName"]],
        base=INGRESS,
    ),
    Field(
        "spec.exposure.host",
        around(HOST),
        lambda drawn: [drawn.one("Route")["spec"]["host"], allowed_host(drawn)],
        platform=RAHTI,
        base=ROUTE,
    ),
)


def accepted(field, value):
    """Return the spec with `value` in `field`, or None where it is refused: for this field alone, in words."""
    spec, problems = judged(spec_file(field.path, value, field.base))
    assert all(problem.path.startswith(field.path) and problem.message for problem in problems)
    if spec is not None:
        require_supported(spec, field.platform, "file")
    return spec


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: f"{field.path}-{field.platform.name}")
@given(data=st.data())
def test_what_is_accepted_comes_out_of_the_manifests_as_the_same_value(field, data):
    value = data.draw(field.values)
    spec = accepted(field, value)
    if spec is not None:
        seen = field.seen(Drawn(spec, field.platform))
        assert seen
        assert seen == [value] * len(seen)


@given(st.dictionaries(around(LABEL), around(LABEL), max_size=3))
def test_accepted_labels_are_on_every_object_and_on_the_pod(labels):
    field = Field("metadata.labels", hostile, lambda drawn: [])
    spec = accepted(field, labels)
    if spec is not None:
        drawn = Drawn(spec, KUBERNETES)
        objects = [drawn.one(kind) for kind in drawn.kinds()]
        for metadata in [
            *(item["metadata"] for item in objects),
            drawn.one("Deployment")["spec"]["template"]["metadata"],
        ]:
            assert labels.items() <= metadata["labels"].items()
            assert metadata["labels"]["app.kubernetes.io/instance"] == "mlflow"


@pytest.mark.parametrize(
    ("path", "base"),
    [
        ("spec.local.python", {}),
        ("spec.artifacts.bucket", {"spec": {"artifacts": {"type": "s3"}}}),
        ("spec.artifacts.prefix", {"spec": {"artifacts": {"type": "s3", "bucket": "b"}}}),
        ("spec.artifacts.endpoint", {"spec": {"artifacts": {"type": "s3", "bucket": "b"}}}),
        ("spec.artifacts.region", {"spec": {"artifacts": {"type": "s3", "bucket": "b"}}}),
        ("spec.database.secretName", {"spec": {"database": {"type": "external"}}}),
        ("spec.exposure.gateway", {"spec": {"exposure": {"type": "gateway"}}}),
    ],
)
@given(value=hostile)
def test_what_is_accepted_is_kept_as_the_same_value(path, base, value):
    spec, problems = judged(spec_file(path, value, base))
    if spec is None:
        assert [problem.path for problem in problems] == [path]
    else:
        *parents, last = path.split(".")
        part = spec.document()
        for key in parents:
            part = part[key]
        assert part[last] == value


@given(value=hostile.filter(lambda text: "\x00" not in text))
def test_a_value_typed_into_a_yaml_file_arrives_as_it_was_typed(value):
    text = yaml.safe_dump(spec_file("spec.local.python", value), allow_unicode=False, width=10**6)
    assert document.parse(text.encode(), "file")["spec"]["local"]["python"] == value


@pytest.mark.parametrize("value", ["yes", "no", "null", "~", "1e3", "1.5", "012", "1:30", "2001-01-01", "true", "5"])
def test_an_unquoted_word_that_yaml_takes_for_something_else_never_becomes_text(value):
    raw = f"metadata: {{labels: {{team: {value}}}}}\napiVersion: mlflow-deployer.github.io/v1alpha1\nkind: MLflowServer"
    spec, problems = judged(document.parse(raw.encode(), "file"))
    if spec is None:
        assert [problem.path for problem in problems] == ["metadata.labels.team"]
    else:
        assert spec.metadata.labels == {"team": value}


def test_the_table_of_hazards_really_holds_what_yaml_and_ini_cannot_carry_raw():
    def carried(text):
        try:
            return yaml.safe_load(f"a: {text}") == {"a": text}
        except yaml.YAMLError:
            return False

    assert sum(not carried(text) for text in HAZARDS) > 80
