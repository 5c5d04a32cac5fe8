"""The checks of a proof: each does what a real client does, and says what the server did wrong.

Source of the client's behaviour: mlflow/store/artifact/mlflow_artifacts_repo.py (artifact URIs), and
mlflow/utils/rest_utils.py.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

import requests

from deployer.core.remedies import Hint, Remedy
from deployer.tracking.client import API, ARTIFACTS, Client, Login, Refused, Unreachable, exchange
from deployer.tracking.refusals import meaning
from deployer.tracking.report import LOGIN

EXPERIMENT: Final = "deployer-verify"
ARTIFACT: Final = "deployer-verify.bin"
ARTIFACT_BYTES: Final = 4096
SERVER_INFO: Final = "api/3.0/mlflow/server-info"
PARTS: Final = "api/2.0/mlflow-artifacts/mpu"
PRESIGNED: Final = "api/2.0/mlflow-artifacts/presigned"
DIRECT_UPLOADS: Final = "multipart_uploads_enabled"
DIRECT_DOWNLOADS: Final = "multipart_downloads_enabled"  # mlflow/utils/server_info.py
METRIC: Final = "proof"
METRIC_STEPS: Final = 3


class Failed(Exception):
    """A check failed; `hint` says what the user can do about the failure."""

    def __init__(self, message: str, hint: Hint | None = None) -> None:
        super().__init__(message)
        self.hint = hint


@dataclass
class Proof:
    """The state that the checks share."""

    anonymous: Client
    wrong: Client
    admin: Client
    login: Login
    run_id: str = ""
    experiment_id: str = ""
    artifact_path: str = ""
    content: bytes = field(default=b"", repr=False)
    undo: list[Callable[[], object]] = field(default_factory=list)


Probe = Callable[[Proof], str]  # raises Failed, Refused or Unreachable; returns what it found


def explained(error: Refused) -> Failed:
    """Return why a check failed, from an error response that the check did not expect."""
    if error.status == 401:
        return Failed("the server stopped accepting the password half-way (401)")
    if error.status in (403, 407):
        said = meaning(error)
        return Failed(said.message, said.hint)
    if error.status == 413:
        return Failed("something between here and the server refuses a body of this size (413)")
    return Failed(str(error))


def _refused_without(client: Client, who: str) -> str:
    status, body = client.status(f"{API}/users/current")
    if status == 404:  # the route exists only with basic auth: ask a route that always exists
        status, body = client.status(f"{API}/experiments/get?experiment_id=0")
    if status == 401:
        return f"{who} refused with 401"
    if status in (403, 407):
        raise explained(Refused(status, body))
    if status == 200:
        raise Failed(f"the server answers {who} with 200: authentication is off")
    raise Failed(f"{who} must be refused with 401, the answer was {status}")


def _reachable(proof: Proof) -> str:
    status, body = proof.anonymous.status("health")
    if status != 200 or body.strip() != "OK":
        raise Failed(f"/health answered {status} and not MLflow's OK; is this an MLflow server?")
    return "/health says OK"


def _stores(proof: Proof) -> str:
    status, _ = proof.anonymous.status("health/stores")
    if status != 200:
        raise Failed(f"/health/stores answered {status}: a database cannot be read")
    return "the databases answer"


def _anonymous_refused(proof: Proof) -> str:
    return _refused_without(proof.anonymous, "anonymous callers")


def _wrong_password_refused(proof: Proof) -> str:
    return _refused_without(proof.wrong, "a wrong password")


def _login_accepted(proof: Proof) -> str:
    try:
        answer = proof.admin.get(f"{API}/users/current")
    except Refused as error:
        if error.status == 401:
            said = meaning(error)
            raise Failed(f"{said.message} (the user name was {proof.login.username!r})", said.hint) from None
        raise
    user = answer.get("user") or {}
    if user.get("username") != proof.login.username:
        raise Failed(f"logged in as {proof.login.username!r}, the server says {user.get('username')!r}")
    return f"{proof.login.username!r} accepted"


def _experiment(proof: Proof) -> str:
    admin = proof.admin
    try:
        found = admin.get(f"{API}/experiments/get-by-name", experiment_name=EXPERIMENT)["experiment"]
        proof.experiment_id = str(found["experiment_id"])
        if found.get("lifecycle_stage") == "deleted":
            admin.post(f"{API}/experiments/restore", {"experiment_id": proof.experiment_id})
    except Refused as error:
        if error.code != "RESOURCE_DOES_NOT_EXIST":
            raise
        proof.experiment_id = str(admin.post(f"{API}/experiments/create", {"name": EXPERIMENT})["experiment_id"])
    return f"experiment {EXPERIMENT}"


def _run_written(proof: Proof) -> str:
    try:
        return _write_run(proof)
    except Refused as error:
        if error.status < 500:
            raise
        raise Failed(
            f"the server cannot record a run (HTTP {error.status}): is its database writable, and is there room on its "
            "volume?"
        ) from None


def _write_run(proof: Proof) -> str:
    admin, now = proof.admin, int(time.time() * 1000)
    _experiment(proof)
    created = admin.post(f"{API}/runs/create", {"experiment_id": proof.experiment_id, "start_time": now})
    info = created["run"]["info"]
    run_id = proof.run_id = str(info["run_id"])
    proof.undo.append(lambda: admin.post(f"{API}/runs/delete", {"run_id": run_id}))
    proof.artifact_path = _artifact_path(str(info["artifact_uri"]))
    metrics = [{"key": METRIC, "value": step / 2, "step": step, "timestamp": now} for step in range(METRIC_STEPS)]
    admin.post(
        f"{API}/runs/log-batch", {"run_id": run_id, "metrics": metrics, "params": [{"key": "run", "value": run_id}]}
    )
    admin.post(f"{API}/runs/update", {"run_id": run_id, "status": "FINISHED", "end_time": now})
    return f"run with {METRIC_STEPS} metrics and a parameter"


def _artifact_path(uri: str) -> str:
    """Return the API path of the artifact in a run's folder, as MLflow's client resolves `mlflow-artifacts:/...`."""
    scheme, _, path = uri.partition(":")
    if scheme != "mlflow-artifacts":
        raise Failed(f"artifacts would go to {scheme}:... directly instead of through the server")
    return f"{ARTIFACTS}/{path.lstrip('/')}/{ARTIFACT}"


def _run_read(proof: Proof) -> str:
    data = proof.admin.get(f"{API}/runs/get", run_id=proof.run_id)["run"]["data"]
    params = {item["key"]: item["value"] for item in data.get("params", ())}
    history = proof.admin.get(f"{API}/metrics/get-history", run_id=proof.run_id, metric_key=METRIC)
    values = sorted(float(item["value"]) for item in history.get("metrics", ()))
    if params.get("run") != proof.run_id or values != [step / 2 for step in range(METRIC_STEPS)]:
        raise Failed("the run reads back with other metrics or parameters than were written")
    return "the same metrics and parameter"


def _artifact_written(proof: Proof) -> str:
    proof.content = secrets.token_bytes(ARTIFACT_BYTES)
    proof.undo.append(lambda: _delete_artifact(proof))  # before the write, which may fail half-way
    try:
        proof.admin.put_bytes(proof.artifact_path, proof.content)
    except Refused as error:
        if error.status >= 500:
            raise Failed(
                f"the server cannot store an artifact (HTTP {error.status}): is its artifact folder or bucket "
                "writable, and is there room?"
            ) from None
        raise
    if proof.admin.get(SERVER_INFO).get(DIRECT_UPLOADS):
        _send_in_parts(proof)
        return f"{ARTIFACT_BYTES} random bytes, through the server and straight to the artifact store"
    return f"{ARTIFACT_BYTES} random bytes"


def _send_in_parts(proof: Proof) -> None:
    """Write the artifact again as clients write large ones: with presigned URLs of the artifact store."""
    folder = proof.artifact_path.removeprefix(f"{ARTIFACTS}/").rpartition("/")[0]
    begun = proof.admin.post(f"{PARTS}/create/{folder}", {"path": ARTIFACT, "num_parts": 1})
    part = begun["credentials"][0]
    answer = _straight("PUT", str(part["url"]), part.get("headers") or {}, proof.content)
    done = {"part_number": part["part_number"], "etag": answer.headers.get("ETag", "")}
    body = {"path": ARTIFACT, "upload_id": begun.get("upload_id"), "parts": [done]}
    proof.admin.post(f"{PARTS}/complete/{folder}", body)


def _straight(method: str, url: str, headers: Mapping[str, str], content: bytes | None = None) -> requests.Response:
    try:
        return exchange(method, url, headers, content)
    except (Unreachable, Refused) as error:
        raise Failed(
            f"the server sends clients straight to the artifact store, which does not work: {error}",
            Remedy.SEND_THROUGH_SERVER,
        ) from None


def _delete_artifact(proof: Proof) -> None:
    try:
        proof.admin.delete(proof.artifact_path)
    except Refused as error:
        if error.status != 404:
            raise


def _artifact_read(proof: Proof) -> str:
    if proof.admin.get(SERVER_INFO).get(DIRECT_DOWNLOADS):
        path = proof.artifact_path.removeprefix(f"{ARTIFACTS}/")
        signed = proof.admin.get(f"{PRESIGNED}/{path}")
        back = _straight("GET", str(signed["url"]), signed.get("headers") or {}).content
    else:
        back = proof.admin.get_bytes(proof.artifact_path)
    if back != proof.content:
        sent, received = (hashlib.sha256(part).hexdigest()[:12] for part in (proof.content, back))
        raise Failed(
            f"the artifact reads back altered: wrote {len(proof.content)} bytes (sha256 {sent}...), "
            f"read {len(back)} bytes (sha256 {received}...)"
        )
    return "the same bytes"


def _closed(proof: Proof) -> str:
    """Request the run and the artifact as a stranger: MLflow protects these routes in two different places."""
    run, create = f"{API}/runs/get?run_id={proof.run_id}", f"{API}/runs/create"
    routes = (("GET", run), ("GET", proof.artifact_path), ("PUT", proof.artifact_path), ("POST", create))
    asked = [
        (client, who, method, path)
        for client, who in ((proof.anonymous, "anonymous callers"), (proof.wrong, "a wrong password"))
        for method, path in routes
    ]
    # in parallel: the server delays its response to a repeated wrong password
    with ThreadPoolExecutor(len(asked)) as pool:
        answers = list(pool.map(lambda one: one[0].status(one[3], one[2]), asked))
    for (_, who, method, path), (status, _) in zip(asked, answers, strict=True):
        if status != 401:
            raise Failed(f"{method} {path.partition('?')[0]} answers {who} with {status}, not 401")
    return "run and artifact closed to strangers"


FULL: Final[tuple[tuple[str, Probe], ...]] = (
    ("reachable", _reachable),
    ("anonymous refused", _anonymous_refused),
    ("wrong password refused", _wrong_password_refused),
    (LOGIN, _login_accepted),
    ("run written", _run_written),
    ("run read back", _run_read),
    ("artifact written", _artifact_written),
    ("artifact read back", _artifact_read),
    ("strangers kept out", _closed),
)
QUICK: Final[tuple[tuple[str, Probe], ...]] = (
    ("stores answer", _stores),
    ("anonymous refused", _anonymous_refused),
    (LOGIN, _login_accepted),
)
