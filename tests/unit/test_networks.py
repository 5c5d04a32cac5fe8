"""Networks that may connect: text that a router may read differently never reaches an annotation."""

import ipaddress
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.cli.spec_options import spec_from
from deployer.core.errors import InvalidSpec, UsageError
from deployer.core.spec import networks

from .strategies import hostile
from .test_changes import spec

MALFORMED = [
    "",
    " ",
    "everyone",
    "Roihu",
    "roihu lumi",
    "10.0.0.0/8 ",
    " 10.0.0.0/8",
    "10.0.0.0/8\n",
    "10.0.0.0/8\t",
    "10.0.0.0 /8",
    "10.0.0.0/ 8",
    "10.0.0.0/8 11.0.0.0/8",
    "10.0.0.0/8,11.0.0.0/8",
    "10.0.0.0/8;",
    "10.0.0.0/33",
    "10.0.0.0/-1",
    "10.0.0.0/+8",
    "10.0.0.0/8/8",
    "10.0.0.0/",
    "/8",
    "10.0.0.0/255.0.0.0",  # a netmask: ipaddress accepts it
    "10.0.0.0/0.255.255.255",  # a host mask: ipaddress accepts it, a router reads another network
    "10.0.0.0/0.0.0.0",  # ipaddress reads it as everybody
    "10.0.0.0/08",  # ipaddress accepts it
    "10.0.0.0/008",
    "10.0.0.1/8",  # has host bits
    "010.0.0.0/8",  # octal for some parsers
    "10.0.0",
    "10/8",
    "10.0.0.0.0",
    "0x0a.0.0.0",
    "167772160",
    "256.0.0.0",
    "\u0661\u0660.0.0.0",  # digits, but not ASCII digits
    "10.0.0.0/\u0668",
    "fe80::1%eth0",  # a scope: ipaddress accepts it
    "fe80::1%25eth0/128",
    "::ffff:10.0.0.0/104",  # an IPv4-mapped network: ipaddress accepts it
    "::ffff:0a00:0/104",
    "::ffff:a00:1",
    "64:ff9b::10.0.0.1",
    "::/1",  # contains all IPv4 clients, in the form in which a router looks them up
    "::/64",
    "::fffe:0:0/95",
    "::102:304",  # an IPv4-compatible address
    "::1.2.3.4",
    "2001:db8::/129",
    "2001:db8::1/32",
    "2001:db8::/032",
    "2001:db8::/ffff::",
    "2001:db8:::1",
    "[2001:db8::1]",
    "2001:db8::1/64%1",
    "a.example.org",
    "*",
    "0",
    "!10.0.0.0/8",
    "-f /etc/passwd",
    "10.0.0.0/8 -f x",
]


@pytest.mark.parametrize("item", MALFORMED, ids=ascii)
def test_a_network_that_routers_may_read_differently_is_refused(item):
    with pytest.raises(ValueError, match="'"):
        networks.network(item)
    with pytest.raises(InvalidSpec) as refused:
        spec(spec={"exposure": {"type": "route", "allowFrom": ["10.0.0.0/8", item]}})
    assert refused.value.problems[0].path == "spec.exposure.allowFrom.1"


@pytest.mark.parametrize(
    ("items", "text"),
    [
        (["192.0.2.1"], "192.0.2.1/32"),
        (["192.0.2.0/24", "10.0.0.0/8"], "192.0.2.0/24 10.0.0.0/8"),
        (["10.0.0.0/8", "10.0.0.0/8"], "10.0.0.0/8"),
        (["2001:DB8:0:0::/32", "2001:DB9::1"], "2001:db8::/32 2001:db9::1/128"),
        (["roihu", "lumi"], "86.50.172.0/27 193.167.209.160/28"),
        (["0.0.0.0/0", "::/0"], "0.0.0.0/0 ::/0"),
    ],
)
def test_networks_are_written_in_one_canonical_form(items, text):
    assert networks.written(items) == text


@pytest.mark.parametrize(
    "whole", [["0.0.0.0/0"], ["::/0"], ["0.0.0.0/1", "128.0.0.0/1"], ["128.0.0.0/2", "0.0.0.0/1", "192.0.0.0/2"]]
)
def test_a_list_that_covers_everybody_needs_allow_everyone(whole):
    with pytest.raises(InvalidSpec, match="that is everybody"):
        spec(spec={"exposure": {"type": "route", "allowFrom": ["10.0.0.0/8", *whole]}})
    spec(spec={"exposure": {"type": "route", "allowFrom": whole, "allowEveryone": True}})
    assert networks.everyone(["0.0.0.0/1", "128.0.0.0/2", "8000::/1"]) is None


@pytest.mark.parametrize("name", ["ip_allowlist", "ip_whitelist"])
def test_the_allow_list_annotation_cannot_be_set_by_hand(name):
    annotations = {f"haproxy.router.openshift.io/{name}": "10.0.0.0/8 "}
    patch = {"kind": "Route", "patch": {"metadata": {"annotations": annotations}}}
    for exposure in ({"type": "route"}, {"type": "ingress"}, {"type": "gateway", "gateway": "a/b"}):
        with pytest.raises(InvalidSpec, match="say it as allowFrom"):
            spec(spec={"exposure": {**exposure, "annotations": annotations}})
        with pytest.raises(InvalidSpec, match="say it as allowFrom"):
            spec(spec={"exposure": exposure, "patches": [patch]})


def test_a_patch_cannot_remove_the_allow_list():
    patch = {"kind": "Route", "patch": {"metadata": {"annotations": None}}}
    with pytest.raises(InvalidSpec, match="must be mappings"):
        spec(spec={"exposure": {"type": "route"}, "patches": [patch]})


@pytest.mark.parametrize("wanted", ["none", "ingress"])
def test_another_exposure_does_not_silently_drop_the_allow_list(wanted):
    stored = spec(spec={"exposure": {"type": "route", "allowFrom": ["roihu"]}})
    with pytest.raises(UsageError, match="no list of who may connect"):
        spec_from(None, None, {"spec.exposure.type": wanted}, stored)
    given_up, _ = spec_from(None, None, {"spec.exposure.type": wanted, "spec.exposure.allowEveryone": True}, stored)
    assert given_up.document()["spec"]["exposure"]["type"] == wanted
    kept, _ = spec_from(None, None, {"spec.exposure.host": "a.example.org"}, stored)
    assert kept.spec.exposure.allow_from == ["roihu"]


FORMS = st.one_of(
    st.ip_addresses().map(str),
    st.tuples(st.ip_addresses(v=4).map(str), st.integers(0, 40)).map(lambda pair: f"{pair[0]}/{pair[1]}"),
    st.tuples(st.ip_addresses(v=6).map(str), st.integers(0, 140)).map(lambda pair: f"{pair[0]}/{pair[1]}"),
    st.tuples(st.ip_addresses(v=4), st.integers(0, 32)).map(
        lambda pair: str(ipaddress.ip_network(f"{pair[0]}/{pair[1]}", strict=False))
    ),
    st.text("0123456789abcdef.:/% +-,\n\u0661", max_size=20),
    hostile,
)
CANONICAL = re.compile(r"(?:[0-9]{1,3}\.){3}[0-9]{1,3}/[0-9]{1,2}|[0-9a-f:]+/[0-9]{1,3}")


@given(st.lists(FORMS, max_size=5))
def test_written_networks_are_canonical_and_equal_the_given_networks(items):
    taken = []
    for item in items:
        try:
            taken.append((item, networks.network(item)))
        except ValueError:
            continue
    text = networks.written(item for item, _ in taken)
    words = text.split(" ") if text else []
    assert all(CANONICAL.fullmatch(word) for word in words)
    assert {ipaddress.ip_network(word, strict=True) for word in words} == {network for _, network in taken}
    for item, network in taken:
        if item not in networks.KNOWN:
            assert ipaddress.ip_network(item, strict=True) == network
