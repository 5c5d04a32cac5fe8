"""A search finds the same rows as MLflow's search, page by page; of experiments, with fewer SQL statements."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.local.fault_injection import ADMIN, Serve, add, client, counted, fault_injection
from tests.support import snapshots
from tests.support.load import API

COUNT = 30
PROMPT = "mlflow.prompt.is_prompt"
IS_PROMPT = f"tags.`{PROMPT}` = 'true'"
MCP = "api/3.0/mlflow/mcp-servers"
PASSWORD = "a-password-of-their-own"
# the permissions of each member, by the number of the experiment or for all
GRANTS: dict[str, dict[int | str, str]] = {
    "nothing": {},
    "one": {17: "READ"},
    "some": dict.fromkeys(range(0, COUNT, 3), "EDIT"),
    "all": dict.fromkeys(range(COUNT), "MANAGE"),
    "every": {"*": "READ"},
    "but one": {"*": "READ", 4: "DENY"},
    "one of two": {3: "READ", 4: "DENY"},
    "mixed": {3: "READ", 5: "DENY", 8: "USE", 13: "MANAGE", 21: "READ"},
}
SEARCHES: list[dict[str, Any]] = [
    {"max_results": 100},
    {"max_results": 4},
    {"max_results": 4, "order_by": ["name DESC"], "filter": "name LIKE 'of all%'"},
    {"max_results": 7, "view_type": "ALL"},
]

FEW = 10  # rows of each other kind, whose names end with a number; grants name them by this number
# of each kind: path, method, the field of the found rows, and the body of a search
KINDS: dict[str, tuple[str, str, str, dict[str, Any]]] = {
    "registered_model": (f"{API}/registered-models/search", "GET", "registered_models", {"order_by": "name DESC"}),
    "prompt": (f"{API}/registered-models/search", "GET", "registered_models", {"filter": IS_PROMPT}),
    "model version": (f"{API}/model-versions/search", "GET", "model_versions", {"order_by": "name ASC"}),
    "prompt version": (f"{API}/model-versions/search", "GET", "model_versions", {"filter": IS_PROMPT}),
    "logged model": (f"{API}/logged-models/search", "POST", "models", {}),
    "mcp_server": (MCP, "GET", "mcp_servers", {"order_by": "name DESC"}),
}


def prepare_others(address: str, experiments: list[str]) -> None:
    """Create models, prompts, logged models and MCP servers as the administrator; grant permissions to the members."""
    with client(ADMIN) as admin:

        def post(path: str, body: object, method: str = "POST") -> None:
            admin.request(method, f"{address}/{path}", json=body, timeout=60).raise_for_status()

        for number in range(FEW):
            tags = [{"key": "number", "value": f"of {number}"}]
            for kind, more in (("registered_model", []), ("prompt", [{"key": PROMPT, "value": "true"}])):
                name = f"{kind}-{number}"
                post(f"{API}/registered-models/create", {"name": name, "tags": [*tags, *more]})
                version = {"name": name, "source": "prompt-template" if more else f"s3://of-nobody/{number}"}
                post(f"{API}/model-versions/create", {**version, "tags": [*tags, *more]})
            post(f"{API}/logged-models", {"experiment_id": experiments[number + 4], "name": f"logged-{number}"})
            post(MCP, {"name": f"com.example/mcp_server-{number}"})
        for name, grants in GRANTS.items():
            for number, permission in grants.items():
                for kind, begin in (("registered_model", ""), ("prompt", ""), ("mcp_server", "com.example/")):
                    if isinstance(number, str) or number < FEW:
                        which = number if isinstance(number, str) else f"{begin}{kind}-{number}"
                        body = {"username": name, "resource_type": kind, "resource_id": which}
                        post("api/3.0/mlflow/users/permissions/grant", {**body, "permission": permission})


def pages_of(session: requests.Session, address: str, kind: str, experiments: list[str]) -> Iterator[list[Any]]:
    """Yield the pages of a search: the name and the tags of each row."""
    path, method, field, search = KINDS[kind]
    search = {**search, "max_results": 3, **({"experiment_ids": experiments} if method == "POST" else {})}
    token = None
    while token != "":
        told = {**search, "page_token": token} if token else search
        body = {"json": told} if method == "POST" else {"params": told}
        answer = session.request(method, f"{address}/{path}", timeout=60, **body)
        answer.raise_for_status()
        found = answer.json()
        rows = [row.get("info", row) for row in found.get(field, ())]
        yield [(row["name"], sorted(str(tag) for tag in row.get("tags", ()))) for row in rows]
        token = found.get("next_page_token") or ""


def prepare(address: str) -> list[str]:
    """Create the experiments, members and permissions; return the numbers of the experiments."""
    with client(ADMIN) as admin:

        def post(path: str, body: object) -> Any:
            answer = admin.post(f"{address}/{path}", json=body, timeout=60)
            answer.raise_for_status()
            return answer.json() if answer.content else None

        ids = [
            post(f"{API}/experiments/create", {"name": f"of all {number}"})["experiment_id"] for number in range(COUNT)
        ]
        post(f"{API}/experiments/delete", {"experiment_id": ids[3]})
        add(address, *((name, PASSWORD) for name in GRANTS))
        for name, grants in GRANTS.items():
            for number, permission in grants.items():
                which = number if isinstance(number, str) else ids[number]
                body = {"username": name, "resource_type": "experiment", "resource_id": which}
                post("api/3.0/mlflow/users/permissions/grant", {**body, "permission": permission})
        return ids


def pages(session: requests.Session, address: str, search: dict[str, Any]) -> Iterator[list[str]]:
    token = None
    while token != "":
        body = {**search, "page_token": token} if token else search
        answer = session.post(f"{address}/{API}/experiments/search", json=body, timeout=60)
        answer.raise_for_status()
        found = answer.json()
        yield [experiment["name"] for experiment in found.get("experiments", ())]
        token = found.get("next_page_token", "")


@dataclass(frozen=True)
class Prepared:
    """A running server with experiments, other objects, members and grants, and the numbers of the experiments."""

    address: str
    folder: Path
    experiments: list[str]

    def copied(self, folder: Path) -> None:
        """Copy the databases into a new folder."""
        folder.mkdir()
        for name in snapshots.NAMES:
            (folder / name).write_bytes(snapshots.content(self.folder / name))


@pytest.fixture(scope="module")
def prepared(environments: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prepared]:
    (python,) = map(str, environments.glob("mlflow-*/bin/python"))
    folder = tmp_path_factory.mktemp("prepared")
    with fault_injection(python, folder)("usual") as address:
        experiments = prepare(address)
        prepare_others(address, experiments)
        yield Prepared(address, folder / "usual", experiments)


def found_by_each_member(address: str, experiments: list[str]) -> dict[tuple[str, int | str], list[list[Any]]]:
    """Return the pages of each search by each member."""
    found: dict[tuple[str, int | str], list[list[Any]]] = {}
    for name in GRANTS:
        with client((name, PASSWORD)) as member:
            for number, search in enumerate(SEARCHES):
                found[name, number] = list(pages(member, address, search))
            for kind in KINDS:
                found[name, kind] = list(pages_of(member, address, kind, experiments))
    return found


def without_pages(found: dict[tuple[str, int | str], list[list[Any]]]) -> dict[tuple[str, int | str], list[Any]]:
    return {search: [row for page in all_pages for row in page] for search, all_pages in found.items()}


def test_members_find_the_same_rows_as_with_mlflows_search(prepared: Prepared, serve: Serve, tmp_path: Path) -> None:
    paged = found_by_each_member(prepared.address, prepared.experiments)
    found = without_pages(paged)
    prepared.copied(tmp_path / "own search")
    with serve("own search") as address:
        assert without_pages(found_by_each_member(address, prepared.experiments)) == found
    for (_, search), all_pages in paged.items():
        if isinstance(search, int):
            assert {len(page) for page in all_pages[:-1]} <= {SEARCHES[search]["max_results"]}
        else:
            assert [len(page) for page in all_pages[:-1]] == [3] * (len(all_pages) - 1)
            assert all_pages[-1] or len(all_pages) == 1
    assert {len(rows) for rows in found.values()} >= {0, 1, COUNT}
    for kind in KINDS:
        assert {len(found[name, kind]) for name in GRANTS} >= {0, FEW - 1, FEW}, kind


def test_a_login_adds_at_most_three_statements_to_a_search(prepared: Prepared, serve: Serve, tmp_path: Path) -> None:
    search = {"max_results": 5}
    prepared.copied(tmp_path / "open")
    with serve("open") as address:
        bare = cost(address, None, search)
    members = ("nothing", "one", "some", "all")
    over = {name: cost(prepared.address, (name, PASSWORD), search) - bare for name in members}
    assert max(over.values()) <= 3, over


def cost(address: str, login: tuple[str, str] | None, search: dict[str, Any]) -> int:
    """Return the number of SQL statements of a search by a user with a cached login."""
    with client(login) as session:
        for _ in range(2):
            counted(address)
            next(pages(session, address, search))
        return len(counted(address)["statements"])
