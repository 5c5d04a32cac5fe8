"""`deployer share`: the text is enough for a colleague to start, and contains no secret."""

from __future__ import annotations

import json
import os
import subprocess
import urllib.request
from base64 import b64encode
from pathlib import Path

import pytest

from tests.local.conftest import HOSTILE_PASSWORD, HOSTILE_USER
from tests.support.machine import DEPLOYER, Machine

MEMBER, MEMBERS_PASSWORD = "al ice%", "p%w-of-alice \"'$(x)"


@pytest.fixture(scope="module")
def member(server: Machine) -> str:
    """Creates a member as the administrator; returns the address of the server."""
    address = str(server.json("status")["address"])
    request = urllib.request.Request(
        f"{address}/api/2.0/mlflow/users/create",
        json.dumps({"username": MEMBER, "password": MEMBERS_PASSWORD}).encode(),
        {
            "Content-Type": "application/json",
            "Authorization": "Basic " + b64encode(f"{HOSTILE_USER}:{HOSTILE_PASSWORD}".encode()).decode(),
        },
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert answer.status == 200
    return address


def test_a_colleague_starts_with_the_lines_as_they_are_printed(server: Machine, member: str, tmp_path: Path) -> None:
    done = server.run("share", "--user", MEMBER)
    assert f"show-password mlflow --target local --user '{MEMBER}'" in done.stderr
    assert "administrator's" not in done.stderr
    for secret in (HOSTILE_PASSWORD, MEMBERS_PASSWORD):
        assert secret not in done.stdout + done.stderr
    lines = [line.strip() for line in done.stdout.splitlines()]
    start = lines.index("pip install mlflow")
    export, login = lines[start + 1 : start + 3]
    (tmp_path / "password").write_text(MEMBERS_PASSWORD)
    env = {"PATH": f"{DEPLOYER.parent}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    script = f"{export}\n{login} --password-file password"
    subprocess.run(["sh", "-ec", script], env=env, cwd=tmp_path, check=True, capture_output=True, timeout=120)
    check = "\n".join(lines[lines.index("import mlflow") :][:2])
    out = subprocess.run(
        ["sh", "-ec", f'{export}\nexec "$0" -c "$1"', server.server_python(), check],
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert out.stdout.splitlines()[-1] == "[]"  # the member owns no objects, and may not read objects of others


def test_a_member_logs_in_by_the_servers_name(server: Machine, member: str, tmp_path: Path) -> None:
    env = {"HOME": str(tmp_path)}
    done = server.run("login", "--username", MEMBER, "--password-file", "-", stdin=MEMBERS_PASSWORD, env=env)
    assert f"accepts user {MEMBER!r}." in done.stderr
    assert "p%%w-of-alice" in (tmp_path / ".mlflow" / "credentials").read_text()


def test_without_a_user_the_sender_is_warned(server: Machine) -> None:
    done = server.run("share")
    assert "Warning: this is the administrator's account" in done.stderr
    assert "ssh -N -L" in done.stdout
    assert HOSTILE_USER in done.stdout
    assert HOSTILE_PASSWORD not in done.stdout + done.stderr


def test_a_nonexistent_user_is_named_with_the_ways_to_create_the_user(server: Machine) -> None:
    refused = server.run("share", "--user", "nobody", code=1)
    assert "knows no user 'nobody'" in refused.stderr
    assert "/signup" in refused.stderr
    assert "create_user" in refused.stderr
    assert refused.stdout == ""
