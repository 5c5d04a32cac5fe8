"""A cluster ends with the test run that started it, even if the run is killed, and leaves nothing behind."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.cluster.remains import KINDS, Traces
from tests.testbed import lifetime, node, packages
from tests.testbed.cluster import Cluster
from tests.testbed.command import wait_until
from tests.testbed.lifetime import ends_with_this_process
from tests.testbed.node import Node
from tests.testbed.place import Place
from tests.testbed.testbed import CHECKOUT

STARTS_A_NODE = """
@pytest.fixture(scope="session")
def cluster():
    with ends_with_this_process(DIRECTORY):
        yield node.create(DIRECTORY)

def test_that_takes_long(cluster):
    (HERE / "ready").write_text(f"{os.getpid()}")
    time.sleep(600)
"""

STARTS_A_CLUSTER = """
from tests.cluster.conftest import cluster

testbed.DIRECTORY = DIRECTORY

def test_that_takes_long(cluster):
    cluster.apply(claim("default", "64Mi"), pod("writer", "default", claim="data"))
    ready(cluster, "default", "writer")
    (HERE / "ready").write_text(f"{os.getpid()}")
    time.sleep(600)
"""

FINDS_A_CLUSTER = """
from tests.cluster.conftest import cluster

testbed.DIRECTORY = DIRECTORY

def test_that_takes_long(cluster):
    (HERE / "ready").write_text(f"{os.getpid()}")
    time.sleep(600)
"""

HEAD = """
import os, time
from pathlib import Path
import pytest
from tests.cluster.pods import claim, pod, ready
from tests.testbed import node, testbed
from tests.testbed.lifetime import ends_with_this_process

HERE = Path(__file__).parent
DIRECTORY = HERE / "cluster"
"""

CREATION = f"""
{HEAD}
with ends_with_this_process(DIRECTORY):
    node.create(DIRECTORY)
    time.sleep(600)
"""

# the signal and the process of the run that gets it; a terminal sends its signals to the whole group
INTERRUPTIONS = {
    "Ctrl-C": (signal.SIGINT, "group"),
    "end of the terminal": (signal.SIGHUP, "group"),
    "kill": (signal.SIGTERM, "pytest"),
    "kill -9": (signal.SIGKILL, "pytest"),
    "kill -9 of the worker": (signal.SIGKILL, "worker"),
}
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if name not in {"CLUSTER", "DEPLOYER_KEEP_CLUSTER"}},
    "PYTHONPATH": str(CHECKOUT),
}


@contextmanager
def _started(folder: Path, *command: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run Python in a new session; at the end of the block, kill its process group."""
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *command], env=ENVIRONMENT, cwd=folder, stdout=output, stderr=output,
            start_new_session=True,
        )  # fmt: skip
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def _test_run(folder: Path, content: str) -> Iterator[tuple[Callable[[str], None], Traces]]:
    """Run pytest-xdist with one waiting test; yield a function that interrupts the run, and the node's traces."""
    (folder / "test_inner.py").write_text(HEAD + content)
    options = ("-p", "no:cacheprovider", f"--rootdir={folder}", "--config-file=/dev/null", "--numprocesses=1")
    with _started(folder, "-m", "pytest", *options, "test_inner.py") as process:
        ready = folder / "ready"
        wait_until(lambda: process.poll() is not None or (ready.exists() and ready.read_text() != ""), "the test", 300)
        assert process.poll() is None, (folder / "output").read_text()
        worker = int(ready.read_text())

        def interrupt(how: str) -> None:
            number, receiver = INTERRUPTIONS[how]
            if receiver == "group":
                os.killpg(process.pid, number)
            else:
                os.kill(process.pid if receiver == "pytest" else worker, number)
            wait_until(lambda: not Path(f"/proc/{worker}").exists(), "the end of the worker", 120)

        found = node.find(folder / "cluster")
        assert found is not None
        yield interrupt, Traces.of(found)


@pytest.mark.parametrize("how", INTERRUPTIONS)
def test_a_node_ends_with_an_interrupted_test_run(tmp_path: Path, how: str) -> None:
    packages.ensure()
    with _test_run(tmp_path, STARTS_A_NODE) as (interrupt, traces):
        assert len(traces.found()) > len(KINDS)  # the search works
        interrupt(how)
        wait_until(lambda: not traces.found(), f"nothing left of {traces}", 60)


def test_a_cluster_with_pods_and_volumes_ends_with_a_killed_test_run(cluster: Cluster, tmp_path: Path) -> None:
    """The fixture `cluster` has built the images; the test checks that it survives."""
    with _test_run(tmp_path, STARTS_A_CLUSTER) as (interrupt, traces):
        assert "testbed: starting the cluster" in (tmp_path / "output").read_text()  # despite pytest's capture
        assert len(traces.loop_files) == 2  # for the images and for the volume
        interrupt("kill -9")
        wait_until(lambda: not traces.found(), f"nothing left of {traces}", 60)
    assert "node" in cluster.kubectl("get", "nodes")


def test_a_cluster_started_earlier_survives_a_killed_test_run(tmp_path: Path) -> None:
    packages.ensure()
    directory = tmp_path / "cluster"
    with ends_with_this_process(directory):
        before = node.create(directory)
        (directory / "ready").touch()
        with _test_run(tmp_path, FINDS_A_CLUSTER) as (interrupt, _):
            interrupt("kill -9")
        # only the watcher of this test is left
        wait_until(
            lambda: len([text for text in _mentions(directory) if lifetime.__name__ in text]) == 1,
            "no other watcher",
            60,
        )
        assert before.alive()


@pytest.mark.parametrize("number", range(4))
def test_a_starting_node_ends_with_its_creator(tmp_path: Path, seed: int, number: int) -> None:
    packages.ensure()
    program = tmp_path / "create.py"
    program.write_text(CREATION)
    directory = tmp_path / "cluster"
    with _started(tmp_path, str(program)) as process:
        wait_until(lambda: directory.exists() or process.poll() is not None, "the start", 60, pause=0.001)
        time.sleep(random.Random(f"{seed} node {number}").uniform(0, 0.4))  # a start takes about half a second
        process.send_signal(signal.SIGSTOP)  # the traces of this moment must be gone later
        assert process.poll() is None, (tmp_path / "output").read_text()
        found = node.find(directory) or Node(Place(0), directory, 0, 0)
        traces = Traces.of(found)
        process.kill()
        wait_until(lambda: not (traces.found() or _mentions(directory)), f"nothing left of {traces}", 60)


def _mentions(directory: Path) -> list[str]:
    """Return the command lines of processes that contain the directory's path."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            found += [text for text in [(process / "cmdline").read_text()] if str(directory) in text]
    return found
