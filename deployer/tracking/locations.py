"""The artifact locations of a server's experiments, and warnings for locations elsewhere.

Each experiment stores its own location. An experiment from another server may name a folder on that server's machine,
or a bucket. Clients then write there directly; a folder is one on the client's own disk
(mlflow/store/artifact/artifact_repository_registry.py `get_artifact_repository`).
"""

from __future__ import annotations

import urllib.parse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from deployer.tracking.client import API, Client

SCHEME: Final = "mlflow-artifacts"
PAGE: Final = 1000  # experiments per response
SHOWN: Final = 3
LONGEST: Final = 100  # characters of a name or location


@dataclass(frozen=True)
class Experiment:
    """An experiment: its id, its name and its artifact URI."""

    id: str
    name: str
    location: str


def experiments(client: Client) -> Iterator[Experiment]:
    """Yield all active experiments that the client's user may read.

    Raises:
        Refused, Unreachable: as `Client.post`.
    """
    token = ""
    while True:
        asked = {"max_results": PAGE, "view_type": "ACTIVE_ONLY", **({"page_token": token} if token else {})}
        answer = client.post(f"{API}/experiments/search", asked)
        for found in answer.get("experiments", ()):
            yield Experiment(str(found["experiment_id"]), str(found["name"]), str(found.get("artifact_location", "")))
        token = str(answer.get("next_page_token") or "")
        if not token:
            return


def warnings(found: Sequence[Experiment]) -> tuple[str, ...]:
    """Return warnings for experiments whose artifacts are elsewhere or in the folder of another experiment."""
    outside = [experiment for experiment in found if not is_at_server(experiment.location)]
    mixed = [experiment for experiment in found if is_at_server(experiment.location) and is_with_another(experiment)]
    told = []
    if outside:
        told.append(
            f"artifacts of {_listed(outside)} do not go to this server: each client writes there itself, with its own "
            "rights, and a folder is one on the client's own disk. Log new runs to a new experiment."
        )
    if mixed:
        told.append(
            f"artifacts of {_listed(mixed)} lie in the folder of another experiment, whose users may read and change "
            "them. Log new runs to a new experiment, and ask who chose this."
        )
    return tuple(told)


def is_at_server(location: str) -> bool:
    """Tell whether clients send artifacts of this location to the tracking server."""
    parsed = urllib.parse.urlsplit(location)
    return parsed.scheme == SCHEME and not parsed.netloc


def is_with_another(experiment: Experiment) -> bool:
    """Tell whether an artifact location at the server is inside the default folder of another experiment."""
    folders = [part for part in urllib.parse.urlsplit(experiment.location).path.split("/") if part not in ("", ".")]
    first = folders[0] if folders else ""
    return ".." in folders or (first.isdecimal() and first != experiment.id)


def _listed(found: Sequence[Experiment]) -> str:
    shown = [f"experiment {_short(one.name)} (at {_short(_without_login(one.location))})" for one in found[:SHOWN]]
    more = [f"{len(found) - SHOWN} more"] if len(found) > SHOWN else []
    *first, last = [*shown, *more]
    return f"{', '.join(first)} and {last}" if first else last


def _short(text: str) -> str:
    """Return a quoted, shortened text for a terminal; any user may have written the text."""
    return repr(text if len(text) <= LONGEST else f"{text[:LONGEST]}...")


def _without_login(location: str) -> str:
    """Return a URI without a password and query."""
    parsed = urllib.parse.urlsplit(location)
    host = parsed.netloc.rpartition("@")[2]
    return urllib.parse.urlunsplit(parsed._replace(netloc=host, query="", fragment=""))
