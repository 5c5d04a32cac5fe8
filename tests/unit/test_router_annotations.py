"""The testbed's router reads the annotations of a Route as OpenShift's router does."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from tests.testbed.openshift import annotations, haproxy
from tests.unit.routes import (
    ALLOW,
    DOMAIN,
    EDGE,
    HAPROXY,
    HELPERS,
    LIST,
    OLD_LIST,
    PASSTHROUGH,
    REDIRECT,
    REWRITE,
    ROUTER,
    TEMPLATE,
    route,
    section,
)

ONE, TWO = "10.0.0.1", "10.0.0.2"


@pytest.mark.parametrize(
    ("source", "given", "networks"),
    [
        (f"{TEMPLATE}:678", {LIST: ONE}, [ONE]),
        (f"{TEMPLATE}:678", {OLD_LIST: ONE}, [ONE]),
        (f"{TEMPLATE}:678", {LIST: ONE, OLD_LIST: TWO}, [ONE]),
        (f"{TEMPLATE}:678", {LIST: "", OLD_LIST: TWO}, [TWO]),
        # a dot matches no newline: the other annotation counts, if there is one
        (f"{HELPERS}:76", {LIST: f"{ONE}\n{TWO}", OLD_LIST: TWO}, [TWO]),
        (f"{HELPERS}:76", {LIST: f"{ONE}\n{TWO}"}, []),
        (f"{HELPERS}:76", {LIST: f"{ONE}\n"}, []),
        (f"{HELPERS}:378", {LIST: f"{ONE} "}, []),
        (f"{HELPERS}:378", {LIST: f" {ONE}", OLD_LIST: TWO}, []),
        (f"{HELPERS}:378", {LIST: f"{ONE}\t"}, []),
        (f"{HELPERS}:378", {LIST: f"{ONE}\xa0"}, []),
        (f"{HELPERS}:372", {LIST: " ", OLD_LIST: TWO}, []),
        (f"{HELPERS}:385", {LIST: f"{ONE}  \t{TWO}"}, [ONE, TWO]),
        (f"{HELPERS}:385", {LIST: f"{ONE}\u2003{TWO}\x85::1"}, [ONE, TWO, "::1"]),
        # white space for Python's str.split, but not for Go's strings.Fields
        *((f"{HELPERS}:385", {LIST: f"{ONE}{mark}{TWO} ::1"}, ["::1"]) for mark in "\x1c\x1d\x1e\x1f"),
        (f"{HELPERS}:378", {LIST: f"{ONE} {TWO}\x1c"}, [ONE]),
        (f"{HELPERS}:388", {LIST: f"{ONE} nonsense"}, [ONE]),
        (f"{HELPERS}:388", {LIST: f"{ONE},{TWO}"}, []),
        (f"{HELPERS}:388", {LIST: "10.0.0 010.0.0.1 fe80::1%eth0"}, []),
        (f"{HELPERS}:390", {LIST: "10.0.0.0/8 2001:db8::/32 ::ffff:10.0.0.1 10.0.0.0/08"}, "as written"),
        (f"{HELPERS}:390", {LIST: "10.0.0.0/33 ::/129 10.0.0.0/ 10.0.0.0/-1 10.0.0.0/255.0.0.0 ::%a/64"}, []),
        (f"{HELPERS}:399", {LIST: "nonsense", OLD_LIST: ONE}, []),
    ],
)
def test_an_allow_list_is_read_as_on_openshift(source: str, given: dict[str, str], networks: list[str] | str) -> None:
    expected = given[LIST].split(" ") if networks == "as written" else networks
    assert annotations.allowed(given) == expected, source
    lines = section(route(annotated=given, tls=EDGE))
    assert ("tcp-request content reject if !allowlist" in lines) == bool(expected), f"{TEMPLATE}:686"
    assert [line for line in lines if line.startswith("acl allowlist")] == (
        [f"acl allowlist src {' '.join(expected)}"] if expected else []
    ), f"{TEMPLATE}:680"


@pytest.mark.parametrize("number", [61, 62])
def test_a_long_allow_list_is_written_to_a_file(number: int) -> None:
    """pkg/router/template/util/haproxy/allowlist.go:29, with HAProxy's 64 words a line."""
    networks = [f"10.0.{index}.0/24" for index in range(number)]
    given = route(annotated={LIST: " ".join(networks)})
    files = haproxy.plan([given], [], DOMAIN).files
    file = "/tmp/router/ns:a.allowlist"
    assert (f"acl allowlist src {networks[0]} " in files["haproxy.cfg"]) == (number == 61)
    assert (f"acl allowlist src -f {file}\n" in files["haproxy.cfg"]) == (number == 62)
    assert files.get("ns:a.allowlist", "").split() == (networks if number == 62 else [])


LONGEST = "2147483647ms"
COOKIE = hashlib.md5(b" ns:a").hexdigest()  # pkg/router/template/router.go:1114: TLS is not known yet
INSERTED = "insert indirect nocache httponly"


@pytest.mark.parametrize(
    ("source", "tls", "annotation", "line"),
    [
        *(
            (source, EDGE, {f"{HAPROXY}timeout": value}, taken and f"timeout server {taken}")
            for source, value, taken in (
                (f"{TEMPLATE}:26", "30s", "30s"),
                (f"{TEMPLATE}:26", "100", "100"),
                (f"{TEMPLATE}:26", "10us", "10us"),
                (f"{TEMPLATE}:26", "0s", ""),
                (f"{TEMPLATE}:26", "1.5s", ""),
                (f"{TEMPLATE}:26", "30s ", ""),
                (f"{TEMPLATE}:26", "30s\n", ""),
                (f"{TEMPLATE}:26", "30S", ""),
                (f"{HELPERS}:358", "24d", "24d"),
                (f"{HELPERS}:358", "25d", LONGEST),
                (f"{HELPERS}:345", f"{'9' * 30}d", LONGEST),
            )
        ),
        (f"{TEMPLATE}:691", EDGE, {f"{HAPROXY}timeout-tunnel": "2h"}, "timeout tunnel 2h"),
        (f"{TEMPLATE}:859", PASSTHROUGH, {f"{HAPROXY}timeout": "5m"}, "timeout tunnel 5m"),
        (
            f"{TEMPLATE}:859",
            PASSTHROUGH,
            {f"{HAPROXY}timeout-tunnel": "1h", f"{HAPROXY}timeout": "5m"},
            "timeout tunnel 1h",
        ),
        (
            f"{TEMPLATE}:770",
            EDGE,
            {f"{ROUTER}cookie_name": "mine"},
            f"cookie mine {INSERTED} secure attr SameSite=None",
        ),
        (f"{TEMPLATE}:770", None, {f"{ROUTER}cookie_name": "a b"}, f"cookie {COOKIE} {INSERTED}"),
        (f"{TEMPLATE}:771", ALLOW, {}, f"cookie {COOKIE} {INSERTED}"),
        (
            f"{TEMPLATE}:772",
            REDIRECT,
            {f"{ROUTER}cookie-same-site": "Lax"},
            f"cookie {COOKIE} {INSERTED} secure attr SameSite=Lax",
        ),
        (f"{TEMPLATE}:676", EDGE, {}, "balance random"),
        (f"{TEMPLATE}:674", EDGE, {f"{HAPROXY}balance": "leastconn"}, "balance leastconn"),
        (f"{TEMPLATE}:847", PASSTHROUGH, {f"{HAPROXY}balance": "best"}, "balance source"),
        (
            f"{TEMPLATE}:782",
            EDGE,
            {f"{HAPROXY}hsts_header": "max-age=31536000;includeSubDomains"},
            "http-response set-header Strict-Transport-Security 'max-age=31536000;includeSubDomains'",
        ),
    ],
)
def test_an_annotation_gives_this_line_of_the_configuration(
    source: str, tls: Any, annotation: dict[str, str], line: str
) -> None:
    lines = section(route(annotated=annotation, tls=tls))
    if line:
        assert line in lines, source
    else:
        assert not [found for found in lines if found.startswith(("timeout server", "timeout tunnel"))], source


@pytest.mark.parametrize(
    ("source", "tls", "annotation", "absent"),
    [
        *((f"{TEMPLATE}:769", EDGE, {f"{HAPROXY}disable_cookies": value}, "cookie ") for value in ("true", "1", "T")),
        (f"{TEMPLATE}:780", None, {f"{HAPROXY}hsts_header": "max-age=1"}, "http-response"),
        (f"{TEMPLATE}:781", EDGE, {f"{HAPROXY}hsts_header": "includeSubDomains"}, "http-response"),
        (f"{TEMPLATE}:781", EDGE, {f"{HAPROXY}hsts_header": "max-age=1'; preload"}, "http-response"),
        (f"{TEMPLATE}:760", EDGE, {f"{HAPROXY}rewrite-target": "x"}, "http-request replace-path"),
        (f"{TEMPLATE}:760", EDGE, {f"{HAPROXY}rewrite-target": "/x\n"}, "http-request replace-path"),
        (f"{TEMPLATE}:843", PASSTHROUGH, {f"{HAPROXY}rewrite-target": "/"}, "http-request"),
    ],
)
def test_an_annotation_gives_no_such_line_of_the_configuration(
    source: str, tls: Any, annotation: dict[str, str], absent: str
) -> None:
    lines = section(route(annotated=annotation, tls=tls))
    assert lines, source
    assert not [line for line in lines if line.startswith(absent)], source


def test_cookies_stay_where_disable_cookies_is_not_true() -> None:
    """images/router/haproxy/conf/haproxy-config.template:769 with Go's strconv.ParseBool."""
    for value in ("yes", "tRUE", "0", ""):
        lines = section(route(annotated={f"{HAPROXY}disable_cookies": value}))
        assert [line for line in lines if line.startswith("cookie ")], value


@pytest.mark.parametrize(
    ("source", "path", "target", "arguments"),
    [
        (f"{TEMPLATE}:763", "/x", "/", r"'^/x/?(.*)$' '/\1'"),
        (f"{TEMPLATE}:765", "/x", "/y", r"'^/x(.*)$' '/y\1'"),
        (f"{TEMPLATE}:765", "", "/y", r"'^(.*)$' '/y\1'"),
        (f"{REWRITE}:168", "/x'y", "/y", r"'^/x'\''y(.*)$' '/y\1'"),
        (f"{REWRITE}:169", "/x\n\ry", "/y", r"'^/xy(.*)$' '/y\1'"),
        (f"{REWRITE}:99", "/x", "/y#z", r"'^/x(.*)$' '/y'"),
        (f"{REWRITE}:99", "/x", r"/y\#z", r"'^/x(.*)$' '/y#z\1'"),
        (f"{REWRITE}:110", "/x", '/"y z"', r"'^/x(.*)$' '/y z\1'"),
        (f"{REWRITE}:120", "/x", "/'y'", r"'^/x(.*)$' '/y\1'"),
        (f"{REWRITE}:122", "/x", r"/\'y", r"'^/x(.*)$' '/'\''y\1'"),
        (f"{REWRITE}:69", "/x", "/%y", r"'^/x(.*)$' '/%%y\1'"),
        (f"{REWRITE}:73", "/x", "/%%y", r"'^/x(.*)$' '/%%y\1'"),
        (f"{REWRITE}:71", "/x", "/%%%y", r"'^/x(.*)$' '/%%%%%%y\1'"),
        (f"{REWRITE}:80", "/x", r"/\y", r"'^/x(.*)$' '/y\1'"),
        (f"{REWRITE}:90", "/x", r"/\\y", r"'^/x(.*)$' '/\y\1'"),
    ],
)
def test_a_path_is_rewritten_as_on_openshift(source: str, path: str, target: str, arguments: str) -> None:
    lines = section(route(path=path, annotated={f"{HAPROXY}rewrite-target": target}))
    assert f"http-request replace-path {arguments}" in lines, source


@pytest.mark.parametrize(
    ("source", "value", "lines", "others"),
    [
        (
            f"{TEMPLATE}:719",
            None,
            ["option forwardfor", "http-request add-header X-Forwarded-Port %[dst_port]"],
            ["set-header"],
        ),
        (f"{TEMPLATE}:40", "always", ["option forwardfor"], ["set-header"]),
        (f"{TEMPLATE}:661", "append", ["option forwardfor"], ["set-header"]),
        (
            f"{TEMPLATE}:732",
            "replace",
            ["http-request set-header X-Forwarded-For %[src]"],
            ["forwardfor", "add-header"],
        ),
        (
            f"{TEMPLATE}:745",
            "if-none",
            [
                "option forwardfor if-none",
                "http-request set-header X-Forwarded-Host %[req.hdr(host)] if !{ req.hdr(X-Forwarded-Host) -m found }",
            ],
            ["add-header"],
        ),
        (f"{TEMPLATE}:755", "never", [], ["forwardfor", "Forwarded"]),
    ],
)
def test_forwarded_headers_are_set_as_on_openshift(
    source: str, value: str | None, lines: list[str], others: list[str]
) -> None:
    annotated = {f"{HAPROXY}set-forwarded-headers": value} if value else {}
    found = section(route(annotated=annotated, tls=EDGE))
    assert set(lines) <= set(found), source
    assert not [line for line in found if any(other in line for other in others)], source
