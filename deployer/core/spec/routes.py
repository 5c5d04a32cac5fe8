"""How OpenShift's router treats the annotations and the host name of a Route; pure decisions, no I/O.

Source: openshift/router, images/router/haproxy/conf/haproxy-config.template; openshift/library-go,
pkg/route/hostassignment and pkg/route/validation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from deployer.core.errors import UsageError
from deployer.core.remedies import Remedy

_PREFIX: Final = "haproxy.router.openshift.io/"
# Routers up to OpenShift 4.17 know only the second key. From 4.18 on, the first key takes precedence.
ALLOW_LISTS: Final = (f"{_PREFIX}ip_allowlist", f"{_PREFIX}ip_whitelist")
FORWARDED_HEADERS: Final = f"{_PREFIX}set-forwarded-headers"
# With these values, the last address in X-Forwarded-For is the one that connected to the router. With its other values
# (`never`, `if-none`), clients can send any address. The router ignores values that it does not know.
FORWARDED_VALUES: Final = ("append", "replace")
LONGEST_LABEL: Final = 63  # characters of a label of a DNS name (RFC 1035)


def _plain(key: str) -> str:
    """Return the name of an annotation without its prefix, in lower case and with underscores."""
    return key.rpartition("/")[2].lower().replace("-", "_")


_PLAIN_LISTS: Final = frozenset(map(_plain, ALLOW_LISTS))


def annotation_problems(annotations: Mapping[str, Any]) -> Iterator[str]:
    """Yield why a user may not set annotations that decide who may connect, or which address a client has.

    A value of None removes an annotation, as in a patch.
    """
    for key, value in annotations.items():
        if _plain(key) in _PLAIN_LISTS:
            yield f"{key!r}: say it as allowFrom, a mistake in it lets everybody in"
        if _plain(key) == _plain(FORWARDED_HEADERS) and value not in FORWARDED_VALUES:
            yield (
                f"{key!r} must be {' or '.join(FORWARDED_VALUES)}: otherwise clients choose the address that the "
                "server counts their wrong passwords under"
            )


def foreign_lists(live: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, str]:
    """Return the allow-lists of a live Route that are not in `wanted`, by annotation."""
    if wanted.get("kind") != "Route":
        return {}
    there = live["metadata"].get("annotations") or {}
    rendered = wanted["metadata"].get("annotations") or {}
    return {key: str(there[key]) for key in ALLOW_LISTS if key in there and key not in rendered}


def allow_list(route: Mapping[str, Any]) -> str | None:
    """Return the list of networks that a Route admits; None if it admits all."""
    annotations = route["metadata"].get("annotations") or {}
    return next((str(annotations[key]) for key in ALLOW_LISTS if annotations.get(key)), None)


def require_host_label(name: str, namespace: str) -> None:
    """Raise UsageError if the host that OpenShift would assign to a server's Route is not a valid DNS name.

    OpenShift assigns NAME-NAMESPACE.DOMAIN, and then refuses a label of more than 63 characters.
    """
    label = f"{name}-{namespace}"
    if len(label) <= LONGEST_LABEL:
        return
    room = LONGEST_LABEL - len(namespace) - 1
    raise UsageError(
        f"OpenShift would assign the host name {label}.DOMAIN, the first part of which has {len(label)} characters; "
        f"at most {LONGEST_LABEL} are possible",
        hint=Remedy.GIVE_HOST_OR_NAME.of(room=room) if room > 0 else Remedy.GIVE_HOST,
    )
