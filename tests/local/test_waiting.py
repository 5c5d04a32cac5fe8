"""`wait`, `status --watch` and `open` with a server that starts and stops."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support.machine import DEPLOYER, Machine
from tests.testbed.packages import SHELLS, install


def test_wait_reports_a_nonexistent_server(machine: Machine) -> None:
    assert "there is no server 'mlflow' here" in machine.run("wait", "--target", "local", code=1).stderr


def test_watch_prints_each_state_until_it_is_interrupted(server: Machine) -> None:
    process = server.popen("status", "--watch")
    assert process.stdout is not None
    seen = [process.stdout.readline()]
    server.run("stop")
    while " stopped " not in seen[-1]:
        seen.append(process.stdout.readline())
    server.run("start")
    while not (" ready " in seen[-1] and " proven " in seen[-1]):
        seen.append(process.stdout.readline())
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGINT
    assert (" ready " in seen[0], err) == (True, "")


def test_open_starts_the_browser_with_the_address(server: Machine) -> None:
    opened = server.home / "opened"
    browser = server.home.parent / "browser"
    browser.write_text(f'#!/bin/sh\nprintf %s "$1" > {str(opened)!r}\n')
    browser.chmod(0o755)
    done = server.run("open", env={"BROWSER": f"{browser} %s"})
    address = server.json("status")["address"]
    assert (done.stdout, opened.read_text()) == (f"{address}\n", address)
    assert "show-password mlflow --target local` prints" in done.stderr


def test_open_without_a_browser_prints_the_address(server: Machine) -> None:
    done = server.run("open", env={"BROWSER": "", "DISPLAY": "", "PATH": "/nonexistent", "TERM": ""})
    assert done.stdout == f"{server.json('status')['address']}\n"
    assert "No browser was found here" in done.stderr


@pytest.mark.parametrize(
    ("shell", "ask"), [("zsh", "zsh -n {script}"), ("fish", "fish -c 'source {script}; complete -C \"deployer st\"'")]
)
def test_the_other_shells_read_their_scripts(server: Machine, tmp_path: Path, shell: str, ask: str) -> None:
    if not shutil.which(shell):
        install(SHELLS)
    script = tmp_path / f"completion.{shell}"
    script.write_text(server.run("completion", shell).stdout)
    env = {**server.env, "PATH": f"{DEPLOYER.parent}:/usr/bin:/bin", "HOME": str(tmp_path)}
    done = subprocess.run(
        ask.format(script=script), shell=True, env=env, capture_output=True, text=True, check=True, timeout=60
    )
    offered = [line.split("\t")[0] for line in done.stdout.splitlines()]
    assert (offered, done.stderr) == (["start", "status", "stop"] if shell == "fish" else [], "")


@pytest.fixture
def stopped(server: Machine) -> Machine:
    """The user of `server`, after a stop. The last test of this file starts the server again."""
    if server.processes():
        server.run("stop")
    return server


def test_wait_for_a_stopped_server_ends_in_time_and_says_what_starts_it(stopped: Machine) -> None:
    late = stopped.run("wait", "--timeout", "1", code=3).stderr
    assert "Not ready: server 'mlflow' is not ready in time: stopped" in late
    assert "`deployer start mlflow --target local` starts it" in late


def test_open_needs_a_running_server(stopped: Machine) -> None:
    assert "`deployer start mlflow --target local` starts it" in stopped.here("open", code=3).stderr


def test_wait_returns_when_the_server_is_ready_or_proven(stopped: Machine) -> None:
    waiting = [stopped.popen("wait", *condition) for condition in ((), ("--for", "verified", "-o", "json"))]
    for process in waiting:
        assert process.stderr is not None
        assert "Server 'mlflow' is stopped" in process.stderr.readline()
    stopped.run("start")
    ready, verified = (process.communicate(timeout=120) for process in waiting)
    assert [process.returncode for process in waiting] == [0, 0]
    assert ready[0] == f"Server 'mlflow' is ready at {stopped.json('status')['address']}.\n"
    assert json.loads(verified[0])["proven"] is True
    assert "is ready at" in stopped.run("wait", "--timeout", "1").stdout
