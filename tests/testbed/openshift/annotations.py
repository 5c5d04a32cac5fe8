"""Translates the annotations of a Route into words of HAProxy's configuration. No I/O.

The rules are those of openshift/router; tests/unit/test_router_*.py name the source line of each rule.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping

Annotations = Mapping[str, str]

HAPROXY = "haproxy.router.openshift.io/"
ROUTER = "router.openshift.io/"
TIME = r"([1-9][0-9]*)(us|ms|s|m|h|d)?"
MILLISECONDS = {"us": 0.001, "ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
LONGEST_TIME = 2**31 - 1
FORWARDED = "append|replace|if-none|never"
BALANCE = "roundrobin|leastconn|source|random"
COOKIE_NAME = "[a-zA-Z0-9_-]+"
SAME_SITE = "Lax|Strict|None"
MAX_AGE = r"max-age[\t\n\f\r ]*=[\t\n\f\r ]*([0-9]+|\"[0-9]+\")"
HSTS_FLAGS = {"includesubdomains", "preload"}
TRUE = {"1", "t", "T", "true", "TRUE", "True"}  # Go's strconv.ParseBool
# Go's unicode.IsSpace: unlike in Python's str.split, \x1c to \x1f are no white space
SPACE = "[\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+"


def first_match(pattern: str, *values: str | None) -> str:
    """Return the first value that matches the whole pattern, or an empty string.

    A dot matches no newline. A value with a newline is therefore skipped.
    """
    return next((value for value in values if value is not None and re.fullmatch(pattern, value)), "")


def allowed(annotations: Annotations) -> list[str]:
    """Return the networks of a Route's allow-list; an empty list admits every client.

    `ip_allowlist` wins over `ip_whitelist`. A list with white space around it is ignored. A wrong entry is left out; a
    list with only wrong entries is ignored too.
    """
    value = first_match(".+", annotations.get(f"{HAPROXY}ip_allowlist"), annotations.get(f"{HAPROXY}ip_whitelist"))
    entries = re.split(SPACE, value)
    return [] if "" in entries else [entry for entry in entries if _is_network(entry)]


def _is_network(entry: str) -> bool:
    """Parse like Go's net.ParseIP and net.ParseCIDR: no zones, no netmasks, leading zeros in a prefix length."""
    address, slash, prefix = entry.partition("/")
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    numeric = re.fullmatch("[0-9]+", prefix) is not None and int(prefix) <= found.max_prefixlen
    return "%" not in address and (numeric or not slash)


def timeout(*values: str | None) -> str:
    """Return the first duration, limited to HAProxy's maximum, or an empty string."""
    value = first_match(TIME, *values)
    found = re.fullmatch(TIME, value)
    longer = found is not None and int(found[1]) * MILLISECONDS[found[2] or "ms"] > LONGEST_TIME
    return f"{LONGEST_TIME}ms" if longer else value


def rewrite(annotations: Annotations, path: str) -> str:
    """Return the arguments of `http-request replace-path`; empty without a rewrite target.

    The Route's path is used as a regular expression, without quoting.
    """
    target = first_match("/.*", annotations.get(f"{HAPROXY}rewrite-target"))
    if not target:
        return ""
    slash = "/?" if target == "/" else ""
    quoted = path.replace("'", r"'\''").translate({ord("\n"): None, ord("\r"): None})
    return f"'^{quoted}{slash}(.*)$' '{_replacement(target)}'"


def _replacement(target: str) -> str:
    """Return a rewrite target as the inside of a word in single quotes, followed by the rest of the path.

    The router once wrote targets without quotes. A target still has the meaning of such a word in HAProxy: quotes
    group, a backslash escapes, and # begins a comment, which also removes the rest of the path.
    """
    words, comment = [], False
    for word in re.findall(r"(?s)\\.|.", target):
        if word == "#":
            comment = True
            break
        words.append("" if word in {'"', "'"} else r"\'\\''" if word == r"\'" else word)
    text = "".join(words)
    # in HAProxy, a percent sign begins a variable and %% is a percent sign; an even number is already escaped
    text = re.sub("%+", lambda run: run[0] * (1 + len(run[0]) % 2), text)
    text = re.sub(r"\\+", lambda run: "\\" * ((len(run[0]) + 1) // 2) if len(run[0]) > 1 else "", text)
    return text if comment else text + r"\1"


def forwarded(annotations: Annotations) -> str:
    """Return how the router sets X-Forwarded-* and Forwarded; its default is `append`."""
    return first_match(FORWARDED, annotations.get(f"{HAPROXY}set-forwarded-headers"), "append")


def cookie(annotations: Annotations, default: str, *, secure: bool) -> str:
    """Return the arguments of `cookie` for sticky sessions; empty if the Route disables cookies."""
    if annotations.get(f"{HAPROXY}disable_cookies") in TRUE:
        return ""
    name = first_match(COOKIE_NAME, annotations.get(f"{ROUTER}cookie_name"), default)
    same_site = first_match(SAME_SITE, annotations.get(f"{ROUTER}cookie-same-site"), "None")
    attributes = f" secure attr SameSite={same_site}" if secure else ""
    return f"{name} insert indirect nocache httponly{attributes}"


def balance(annotations: Annotations, default: str) -> str:
    return first_match(BALANCE, annotations.get(f"{HAPROXY}balance"), default)


def strict_transport(annotations: Annotations) -> str:
    """Return the value of Strict-Transport-Security; empty if the Route sets none."""
    value = annotations.get(f"{HAPROXY}hsts_header", "")
    parts = [part.strip("\t\n\f\r ").lower() for part in value.split(";")]
    others = [part for part in parts if not re.fullmatch(MAX_AGE, part)]
    well_formed = len(parts) - len(others) == 1 and set(others) <= HSTS_FLAGS and value == value.strip("\t\n\f\r ")
    return value if well_formed else ""
