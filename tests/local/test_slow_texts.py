"""No short text of a member occupies the server for minutes, or breaks the lists of others."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from tests.local.minors import ADMIN, CASES, Server, served

V2, V3 = "api/2.0/mlflow", "api/3.0/mlflow"
SECONDS = 60  # each of these requests took at least many minutes
MARKS = "a" + "\u0315\u0300" * 60_000  # combining characters in the wrong order
PLACE = "mlflow-artifacts:/%" + "25" * 400_000


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case.version)
def server(
    request: pytest.FixtureRequest, python_of: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    with served(request.param, python_of(request.param.version), tmp_path_factory.mktemp("texts")) as found:
        yield found


@pytest.fixture(scope="module")
def member(server: Server) -> tuple[str, str]:
    return server.member("mia")


def send(server: Server, login: tuple[str, str], path: str, **options: Any) -> requests.Response:
    return requests.post(f"{server.address}/{path}", auth=login, timeout=SECONDS, **options)


def need_skills(server: Server) -> None:
    if server.case.version.startswith("3.17"):
        pytest.skip("this MLflow has no skills")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("experiments/create", {"name": "x", "artifact_location": f"s3://{MARKS}"}),
        ("runs/search", {"experiment_ids": ["0"], "filter": f"attributes.run_id IN ([{MARKS}])"}),
        ("model-versions/create", {"name": "of-mia", "source": f"s3://{MARKS}"}),
        ("model-versions/create", {"name": "of-mia", "source": PLACE}),
    ],
    ids=["location", "filter", "source", "encoded source"],
)
def test_a_long_text_is_refused_at_once(server: Server, member: tuple[str, str], path: str, body: Any) -> None:
    send(server, member, f"{V2}/registered-models/create", json={"name": "of-mia"})
    answer = send(server, member, f"{V2}/{path}", json=body)
    assert answer.status_code == 400, answer.text[:500]


def test_a_short_text_may_have_combining_characters(server: Server, member: tuple[str, str]) -> None:
    decomposed = "cafe\u0301"
    body = {"experiment_ids": ["0"], "filter": f"tags.`{decomposed}` = '{decomposed}'"}
    assert send(server, member, f"{V2}/runs/search", json=body).status_code in (200, 403)
    made = send(server, member, f"{V2}/experiments/create", json={"name": decomposed})
    assert made.ok, made.text


def test_the_source_of_an_icon_is_refused_at_once(server: Server, member: tuple[str, str]) -> None:
    body = json.dumps({"name": "mia/marks", "icons": [{"src": f"https://{MARKS}/"}]}, ensure_ascii=False).encode()
    answer = send(server, member, f"{V3}/mcp-servers", data=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422), answer.text[:500]


@pytest.mark.parametrize("field", ["source", "subpath"])
def test_a_skill_with_a_long_text_is_refused_at_once(server: Server, member: tuple[str, str], field: str) -> None:
    need_skills(server)
    body = {"source_type": "git", "source": "https://example.org/x.git"} | {field: "-" * 300_000 + "\\://x"}
    answer = send(server, member, f"{V3}/skills/mia-text/versions", json=body)
    assert answer.status_code in (400, 413, 422), answer.text[:500]
    assert len(answer.text) < 20_000


def test_a_skill_with_a_long_name_in_its_archive_is_refused_at_once(server: Server, member: tuple[str, str]) -> None:
    need_skills(server)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        archive.addfile(tarfile.TarInfo("-" * 3_000_000))
    parts = {"metadata": (None, "{}"), "content": ("s.tar.gz", packed.getvalue())}
    answer = send(server, member, f"{V3}/skills/mia-name/versions", files=parts)
    assert answer.status_code == 400, answer.text[:500]


def test_the_client_of_a_form_does_not_choose_its_encoding(server: Server, member: tuple[str, str]) -> None:
    need_skills(server)
    metadata = b"A" * 400_000 + b"-" + b"a" * 500_000
    form = b'--b\r\nContent-Disposition: form-data; name="metadata"\r\n\r\n' + metadata + b"\r\n--b--\r\n"
    kind = {"Content-Type": "multipart/form-data; boundary=b; charset=punycode"}
    answer = send(server, member, f"{V3}/skills/mia-form/versions", data=form, headers=kind)
    assert answer.status_code in (400, 413, 422), answer.text[:500]


def nested(levels: int) -> Any:
    return json.loads("[" * levels + "]" * levels)


@pytest.mark.parametrize("more", [nested(150), "\ud800", {"x": {"y": "\udfff"}}], ids=["deep", "half a pair", "inside"])
@pytest.mark.parametrize("route", ["mcp-servers", "skills"])
def test_what_could_not_be_listed_is_not_stored(server: Server, member: tuple[str, str], route: str, more: Any) -> None:
    if route == "skills":
        need_skills(server)
    name = "mia/listed" if route == "mcp-servers" else "mia-listed"
    icons = [{"src": "https://example.org/icon.png", "more": more}]
    body = json.dumps({"name": name, "icons": icons}).encode()
    answer = send(server, member, f"{V3}/{route}", data=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422), answer.text[:500]
    listed = requests.get(f"{server.address}/{V3}/{route}", auth=ADMIN, timeout=SECONDS)
    assert (listed.status_code, name in listed.text) == (200, False)
