"""The state of a server of this machine with workloads in different states, and the places of their files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from deployer.core.secrets.references import SecretRef
from deployer.core.spec.platform import LOCAL
from deployer.core.spec.schema import Spec
from deployer.core.stack.assigned import Assigned
from deployer.core.stack.components import build
from deployer.core.stack.model import SERVER, FilePath, VolumePath
from deployer.targets import Live
from deployer.targets.local.folders import folder_of, folders_in
from deployer.targets.local.observation import combined, together, written
from deployer.targets.local.store import LocalStore
from deployer.targets.local.texts import Texts

STOPPED = Live("stopped", "never started")
CRASHED = Live("crashed", "process 7 has ended")
ELSEWHERE = Live("elsewhere", "it runs on login2", "there:8:9", host="login2")


def runs(identity: str, fingerprint: str = "f") -> Live:
    return Live("running", f"process {identity}", identity, fingerprint)


@pytest.mark.parametrize(
    "live", [STOPPED, CRASHED, ELSEWHERE, runs("1"), Live("rebooted"), Live("running", "starting")]
)
def test_a_server_of_one_workload_has_the_state_of_that_workload(live: Live) -> None:
    assert together({SERVER: live}) == live


@pytest.mark.parametrize(
    ("server", "cache", "state", "detail", "workload"),
    [
        (STOPPED, STOPPED, "stopped", "never started", SERVER),
        (runs("1"), runs("2"), "running", "server: process 1, cache: process 2", SERVER),
        (runs("1"), STOPPED, "crashed", "workload 'cache' does not run: never started", "cache"),
        (STOPPED, runs("2"), "crashed", "workload 'server' does not run: never started", SERVER),
        (runs("1"), CRASHED, "crashed", "workload 'cache' does not run: process 7 has ended", "cache"),
        (STOPPED, CRASHED, "crashed", "workload 'cache' does not run: process 7 has ended", "cache"),
        (
            Live("rebooted", "a restart"),
            Live("rebooted"),
            "rebooted",
            "workload 'server' does not run: a restart",
            SERVER,
        ),
        (STOPPED, ELSEWHERE, "elsewhere", "workload 'cache': it runs on login2", "cache"),
    ],
)
def test_a_server_runs_if_all_of_its_workloads_run(
    server: Live, cache: Live, state: str, detail: str, workload: str
) -> None:
    live = together({SERVER: server, "cache": cache})
    assert (live.state, live.detail, live.workload) == (state, detail, workload)


def test_the_identity_of_a_start_changes_with_each_workload() -> None:
    known = {written({SERVER: one, "cache": two}) for one in "ab" for two in "ab"}
    assert len(known) == 4
    assert written({SERVER: "a"}) == "a"  # as in records of earlier releases
    assert written({SERVER: "a", "cache": None}) is None
    assert together({SERVER: runs("a"), "cache": runs("b")}).identity == written({SERVER: "a", "cache": "b"})


def test_the_fingerprint_changes_with_each_workload() -> None:
    assert combined({SERVER: "a"}) == "a"  # as in process records of earlier releases
    assert len({combined({SERVER: one, "cache": two}) for one in "ab" for two in "ab"}) == 4
    assert combined({SERVER: "a", "cache": None}) is None
    assert combined({SERVER: "a", "cache": "b"}) == combined({"cache": "b", SERVER: "a"})


def test_the_fingerprint_of_the_settings_is_computed_as_in_earlier_releases() -> None:
    stack = build(Spec(), LOCAL, Assigned(ports={"http": 5000}))
    workload = replace(
        stack.workload(SERVER),
        command=(("python",), (FilePath("launch.py"),)),
        env={"URI": ("sqlite:///", VolumePath("data", "a.db")), "KEY": (SecretRef("server", "kek"),)},
        files={},
        keys="k",
    )
    texts = Texts(LocalStore(Path("/state"), "mlflow"), replace(stack, workloads=(workload,)))
    environment: Any = SimpleNamespace(folder=Path("/state/environments/mlflow"))
    # computed with commit f79f242: another value would restart every server after an update of deployer
    expected = "b09c983a9d2d02a79028da2f54051038a2022c82ab2d0d1ed5ddf44a4f8de48b"
    assert texts.fingerprint(workload, environment) == expected
    other = replace(workload, name="cache")
    assert len({texts.fingerprint(replace(other, port=port), environment) for port in (1, 2)}) == 2


def test_the_files_of_the_server_stay_where_earlier_releases_have_put_them(tmp_path: Path) -> None:
    server = folder_of(tmp_path / "mlflow", SERVER)
    names = {
        path.relative_to(tmp_path).as_posix() for path in (server.process, server.log, server.files, server.temporary)
    }
    assert names == {"mlflow/process.json", "mlflow/server.log", "mlflow/files", "mlflow/tmp"}


def test_workloads_are_found_by_their_folders(tmp_path: Path) -> None:
    server = tmp_path / "files"  # an awkward name
    assert [folder.name for folder in folders_in(server)] == [SERVER]
    for name in ("store", "a-cache"):
        folder_of(server, name).path.mkdir(parents=True)
    for name in ("data", "files", "volumes", "tmp"):
        (server / name).mkdir()
    (server / "files-of-nobody").write_text("no folder")
    assert [folder.name for folder in folders_in(server)] == [SERVER, "a-cache", "store"]
