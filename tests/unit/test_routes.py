"""Routes for OpenShift's router: allow-lists, addresses of clients, and hosts."""

import pytest
import yaml

from deployer.cli.remedies import words
from deployer.core.errors import InvalidSpec, UsageError
from deployer.core.spec import document
from deployer.core.spec.platform import KUBERNETES, OPENSHIFT, PROFILES, RAHTI
from deployer.core.spec.routes import ALLOW_LISTS, FORWARDED_HEADERS, allow_list, foreign_lists, require_host_label
from deployer.core.spec.support import require_supported
from deployer.operations.render import manifests

from .strategies import HEADER

ROUTERS = [platform for platform in PROFILES.values() if "route" in platform.exposures]
ANNOTATION = "haproxy.router.openshift.io/"


def spec(**parts):
    return document.validate({**HEADER, **parts}, "file")


def rendered(platform, **exposure):
    wanted = spec(spec={"exposure": exposure} if exposure else {})
    documents = manifests(wanted, platform, "team-a")[0]
    (text,) = [text for key, text in documents.items() if key.startswith(("Route/", "Ingress/"))]
    return yaml.safe_load(text)


@pytest.mark.parametrize("platform", ROUTERS, ids=lambda platform: platform.name)
def test_old_and_new_routers_find_the_same_list(platform):
    annotations = rendered(platform, type="route", allowFrom=["192.0.2.1", "roihu"])["metadata"]["annotations"]
    assert set(ALLOW_LISTS) == {f"{ANNOTATION}ip_allowlist", f"{ANNOTATION}ip_whitelist"}
    assert [annotations[key] for key in ALLOW_LISTS] == ["192.0.2.1/32 86.50.172.0/27"] * 2


@pytest.mark.parametrize("platform", ROUTERS, ids=lambda platform: platform.name)
def test_without_an_allow_list_neither_annotation_is_written(platform):
    assert not set(ALLOW_LISTS) & set(rendered(platform)["metadata"]["annotations"])


@pytest.mark.parametrize("platform", ROUTERS, ids=lambda platform: platform.name)
def test_a_route_makes_the_router_append_the_client_s_address(platform):
    for exposure in ({}, {"type": "route"}, {"type": "route", "annotations": {"example.org/a": "b"}}):
        assert rendered(platform, **exposure)["metadata"]["annotations"][FORWARDED_HEADERS] == "append"


def test_an_ingress_on_openshift_makes_the_router_append_the_client_s_address():
    ingress = rendered(OPENSHIFT, type="ingress", host="a.example.org")
    assert ingress["metadata"]["annotations"][FORWARDED_HEADERS] == "append"
    plain = rendered(KUBERNETES, type="ingress", host="a.example.org")
    assert FORWARDED_HEADERS not in plain["metadata"]["annotations"]


REFUSED = [
    (FORWARDED_HEADERS, "never"),
    (FORWARDED_HEADERS, "if-none"),
    (FORWARDED_HEADERS, "Append"),  # routers ignore unknown values
    (FORWARDED_HEADERS, "append "),
    (f"{ANNOTATION}Set-Forwarded-Headers", "never"),
    (f"{ANNOTATION}set_forwarded_headers", "never"),
    ("set-forwarded-headers", "if-none"),
    (f"{ANNOTATION}IP_allowlist", "10.0.0.0/8"),
    (f"{ANNOTATION}ip-whitelist", "10.0.0.0/8"),
    ("ip_whitelist", "10.0.0.0/8"),
]


@pytest.mark.parametrize(("key", "value"), REFUSED)
@pytest.mark.parametrize("patched", [False, True], ids=["annotation", "patch"])
def test_reserved_annotations_cannot_be_set_by_hand(key, value, patched):
    patch = {"kind": "Route", "patch": {"metadata": {"annotations": {key: value}}}}
    parts = {"patches": [patch]} if patched else {"exposure": {"type": "route", "annotations": {key: value}}}
    path = "spec.patches.0.patch.metadata.annotations" if patched else "spec.exposure.annotations"
    with pytest.raises(InvalidSpec) as refused:
        require_supported(spec(spec=parts), RAHTI, "file")
    assert [problem.path for problem in refused.value.problems] == [path]
    assert key in str(refused.value)


def test_a_patch_cannot_remove_the_forwarded_headers_annotation():
    patch = {"kind": "Route", "patch": {"metadata": {"annotations": {FORWARDED_HEADERS: None}}}}
    with pytest.raises(InvalidSpec, match="must be append or replace"):
        require_supported(spec(spec={"patches": [patch]}), RAHTI, "file")


@pytest.mark.parametrize("value", ["append", "replace"])
def test_forwarded_headers_may_be_append_or_replace(value):
    wanted = {"type": "route", "annotations": {FORWARDED_HEADERS: value}}
    require_supported(spec(spec={"exposure": wanted}), RAHTI, "file")
    assert rendered(RAHTI, **wanted)["metadata"]["annotations"][FORWARDED_HEADERS] == value


def test_a_stored_spec_with_a_reserved_annotation_is_still_read():
    """`delete` must find a server of an earlier release, which may have stored this annotation."""
    assert spec(spec={"exposure": {"type": "route", "annotations": {FORWARDED_HEADERS: "never"}}})


def route(**annotations):
    named = {f"{ANNOTATION}{key}": value for key, value in annotations.items()}
    return {"kind": "Route", "metadata": {"annotations": named}}


@pytest.mark.parametrize(
    ("live", "wanted", "foreign"),
    [
        (route(ip_allowlist="a"), route(), ["ip_allowlist"]),
        (route(ip_allowlist="a", ip_whitelist="b"), route(timeout="1s"), ["ip_allowlist", "ip_whitelist"]),
        (route(ip_allowlist="a", ip_whitelist="b"), route(ip_whitelist="b"), ["ip_allowlist"]),
        (route(ip_allowlist="a", ip_whitelist="a"), route(ip_allowlist="a", ip_whitelist="a"), []),
        (route(timeout="1s"), route(), []),
        ({"kind": "Route", "metadata": {}}, {"kind": "Route", "metadata": {}}, []),
        ({**route(ip_allowlist="a"), "kind": "Service"}, {**route(), "kind": "Service"}, []),
    ],
)
def test_foreign_allow_lists_are_found(live, wanted, foreign):
    assert [key.removeprefix(ANNOTATION) for key in foreign_lists(live, wanted)] == foreign


@pytest.mark.parametrize(
    ("live", "found"),
    [
        (route(ip_allowlist="a", ip_whitelist="b"), "a"),
        (route(ip_allowlist="", ip_whitelist="b"), "b"),
        (route(), None),
        ({"kind": "Route", "metadata": {}}, None),
    ],
)
def test_the_list_in_force_is_the_list_that_new_routers_read(live, found):
    assert allow_list(live) == found


@pytest.mark.parametrize(
    ("name", "namespace", "hint"),
    [
        ("m" * 33, "n" * 30, "at most 32 characters"),
        ("m" * 53, "n" * 63, "host name of your own"),
        ("m", "n" * 62, "host name of your own"),
    ],
)
def test_a_host_that_openshift_would_refuse_is_refused_beforehand(name, namespace, hint):
    with pytest.raises(UsageError, match="at most 63") as refused:
        require_host_label(name, namespace)
    said = words(refused.value.hint)
    assert hint in said
    assert "--host" in said
    assert ("choose a name" in said) == (len(namespace) < 62)
    wanted = spec(metadata={"name": name})
    with pytest.raises(UsageError, match="at most 63"):
        manifests(wanted, RAHTI, namespace)
    hosted = spec(metadata={"name": name}, spec={"exposure": {"type": "route", "host": "a.example.org"}})
    assert manifests(hosted, RAHTI, namespace)[1] is None
    assert manifests(spec(metadata={"name": name}, spec={"exposure": {"type": "none"}}), RAHTI, namespace)


def test_the_longest_host_that_openshift_accepts_is_rendered():
    assert require_host_label("m" * 32, "n" * 30) is None
    assert manifests(spec(metadata={"name": "m" * 32}), RAHTI, "n" * 30)[1].startswith("m" * 32 + "-" + "n" * 30 + ".")
