"""The order in which pytest-xdist hands out tests, in an inner run where a file stands for the built cluster."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.cluster_build import ClusterBuild
from tests.support.scheduling import (
    CLUSTER,
    LONG_SCOPES,
    MACHINE,
    OF_SERVERS,
    ON_SECOND_CLUSTER,
    SECOND_CLUSTER,
    SERVERS,
    next_scope,
    scope_of,
)
from tests.testbed.command import wait_until

CHECKOUT = Path(__file__).resolve().parents[2]
CONFTEST = """
import os
from pathlib import Path

import pytest
from tests.support.scheduling import LongScopesFirst

class Build:
    def __init__(self):
        write("build")

    def running(self):
        return not Path("built").exists()

def write(name):
    with open("order", "a") as file:
        file.write(f"{name} {os.environ.get('PYTEST_XDIST_WORKER', 'scheduler')}\\n")

def pytest_xdist_make_scheduler(config, log):
    return LongScopesFirst(config, log, Build)

@pytest.fixture(autouse=True)
def noted(request):
    write(request.node.name)
"""
# the tenth unit test ends the build; the machine test occupies its process until the cluster test has run
UNIT = """
import pathlib
import pytest

@pytest.mark.parametrize("number", range(20))
def test_unit(number):
    if number == 9:
        pathlib.Path("built").touch()
"""
LOCAL = """
import pathlib, time

def test_machine():
    while not pathlib.Path("cluster ran").exists():
        time.sleep(0.05)

def test_machine_again():
    pass
"""
ON_CLUSTER = """
import pathlib

def test_cluster():
    pathlib.Path("cluster ran").touch()

def test_cluster_again():
    pass
"""
# the most tests: pytest-xdist's own order would start with these
ON_SECOND = """
import pytest

@pytest.mark.parametrize("number", range(3))
def test_second(number):
    pass
"""
FILES = {
    "conftest.py": CONFTEST,
    "tests/unit/test_a.py": UNIT,
    "tests/local/test_b.py": LOCAL,
    "tests/cluster/test_c.py": ON_CLUSTER,
    "tests/cluster/test_rights.py": ON_SECOND,
    "pytest.ini": "[pytest]\n",
}


@pytest.fixture
def events(tmp_path: Path) -> list[tuple[str, str]]:
    """Return the events of a run with two processes in their order, each with its process."""
    for name, content in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--numprocesses", "2", "-p", "no:cacheprovider", "tests"],
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(CHECKOUT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = (tmp_path / "order").read_text().splitlines()
    return [(name, process) for name, _, process in (line.rpartition(" ") for line in lines)]


def test_unit_tests_run_during_the_cluster_build_and_cluster_tests_right_after(
    events: list[tuple[str, str]],
) -> None:
    names = [name for name, _ in events]
    assert len(names) == len(set(names)) == 1 + 20 + 2 + 2 + 3
    assert names[0] == "build"
    process = dict(events)
    assert [name for name, where in events if where == process["test_machine"]][:2] == [
        "test_machine",
        "test_machine_again",
    ]
    # each process has two more tests in its queue when the build ends
    assert names.index("test_unit[9]") < names.index("test_cluster") <= names.index("test_unit[9]") + 3, events
    assert names.index("test_cluster") < names.index("test_second[0]") < names.index("test_unit[19]"), events
    assert process["test_cluster"] == process["test_cluster_again"]


def test_tests_that_share_ports_or_a_cluster_are_one_scope() -> None:
    assert scope_of("tests/local/test_a.py::test_b") == scope_of("tests/soak/test_c.py::test_d") == MACHINE
    assert {scope_of(f"tests/local/{file}::test_a") for file in OF_SERVERS} == {SERVERS}
    assert scope_of("tests/cluster/test_kill.py::test_a[b]") == CLUSTER
    assert {scope_of(f"tests/cluster/{file}::test_a") for file in ON_SECOND_CLUSTER} == {SECOND_CLUSTER}
    assert scope_of("tests/unit/test_a.py::test_b[c/d]") == "tests/unit/test_a.py::test_b[c/d]"


@pytest.mark.parametrize(("folder", "files"), [("cluster", ON_SECOND_CLUSTER), ("local", OF_SERVERS)])
def test_the_files_of_a_scope_exist(folder: str, files: set[str]) -> None:
    assert {file for file in files if not (CHECKOUT / "tests" / folder / file).exists()} == set()


def test_files_that_start_servers_by_themselves_never_let_deployer_choose_a_port() -> None:
    creating = re.compile(r"\.create\(|\"create\"|server: Machine")
    assert {file for file in OF_SERVERS if creating.search((CHECKOUT / "tests/local" / file).read_text())} == set()


def test_no_process_waits_for_a_cluster_while_other_tests_are_left() -> None:
    queue = [CLUSTER, SECOND_CLUSTER, "a test"]
    assert next_scope(queue, building=True) == "a test"
    assert next_scope(queue, building=False) == CLUSTER
    assert next_scope([*LONG_SCOPES, "a test"], building=True) == MACHINE
    assert next_scope([CLUSTER, SECOND_CLUSTER], building=True) == CLUSTER


def test_ending_a_build_ends_its_compilers(tmp_path: Path) -> None:
    build = ClusterBuild(["sh", "-c", f"sleep 3600 & echo $! > {tmp_path}/new; mv {tmp_path}/new {tmp_path}/pid; wait"])
    wait_until((tmp_path / "pid").exists, "the compiler", 60)
    compiler = (tmp_path / "pid").read_text().strip()
    assert build.running()
    build.end()
    assert not build.running()
    wait_until(lambda: has_ended(compiler), "the end of the compiler", 60)


def has_ended(pid: str) -> bool:
    try:
        return ") Z" in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return True
