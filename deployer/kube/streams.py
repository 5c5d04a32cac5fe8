"""Responses that last: logs and watches."""

from __future__ import annotations

import json
from collections.abc import Iterator

from deployer.core.manifests.manifest import POD, Kind, Manifest
from deployer.kube.refusals import Call
from deployer.kube.session import READ_SECONDS, Session


def lines_of_log(
    session: Session, pod: str, container: str, tail: int, *, follow: bool = False, previous: bool = False
) -> Iterator[str]:
    """Yield the last `tail` lines of a container's log; with `follow`, also new lines until the log ends.

    `previous` selects the container before its last restart.
    """
    query = {"container": container, "tailLines": str(tail)}
    query |= {"follow": "true"} if follow else {}
    query |= {"previous": "true"} if previous else {}
    path = f"{POD.path(session.namespace, pod)}/log"
    call = Call("get", "pods/log", pod, session.namespace)
    with session.stream(path, call, query, seconds=None if follow else READ_SECONDS) as chunks:
        yield from _lines(chunks)


def changes(
    session: Session, kind: Kind, *, fields: str, resource_version: str, seconds: float
) -> Iterator[tuple[str, Manifest]]:
    """Yield the events of matching objects after `resource_version`, for `seconds`: type and object.

    Ends early if the server ends the watch or the version is too old. The caller then lists the objects again.
    """
    query = {
        "watch": "true",
        "fieldSelector": fields,
        "resourceVersion": resource_version,
        "timeoutSeconds": str(max(1, round(seconds))),
    }
    call = Call("watch", kind.resource, "", session.namespace)
    with session.stream(kind.path(session.namespace), call, query, seconds=seconds + 1) as chunks:
        for line in _lines(chunks):
            try:
                event = json.loads(line)
            except ValueError:
                return  # cut off in the middle
            if event["type"] == "ERROR":
                return
            yield event["type"], event["object"]


def _lines(chunks: Iterator[bytes]) -> Iterator[str]:
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        yield from (line.decode("utf-8", "replace") for line in whole)
    if rest:
        yield rest.decode("utf-8", "replace")
