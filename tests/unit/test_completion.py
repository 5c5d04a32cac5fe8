"""The script of `deployer completion bash`, sourced and called by a real bash."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

DEPLOYER = Path(sys.executable).with_name("deployer")
ASK = """
source <({deployer} completion bash)
COMP_WORDS=(deployer {words})
COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
_deployer_completion {deployer}
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


def completions(home: Path, words: str) -> list[str]:
    """Return the completions that bash offers for the last word, which may be ''."""
    env = {**os.environ, "HOME": str(home), "XDG_STATE_HOME": str(home / "state")}
    script = ASK.format(deployer=DEPLOYER, words=words)
    done = subprocess.run(["bash", "-c", script], env=env, capture_output=True, text=True, check=True, timeout=60)
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("st", ["stop", "start", "status"]),
        ("rotate-p", ["rotate-password"]),
        ("status --wa", ["--watch"]),
        ("--vers", ["--version"]),
        ("nothing-of-the-kind", []),
        ("nothing-of-the-kind x", []),
    ],
)
def test_commands_and_options_are_completed(tmp_path, words, offered):
    assert completions(tmp_path, words) == offered


def test_names_of_servers_on_this_machine_are_completed(tmp_path):
    for name in ("team-a", "team-b", "other"):
        folder = tmp_path / "state/mlflow-deployer/servers" / name
        folder.mkdir(parents=True)
        (folder / "record.json").write_text("{}")
    assert completions(tmp_path, "stop te") == ["team-a", "team-b"]
    assert completions(tmp_path, "verify o") == ["other"]


def test_workloads_of_a_server_on_this_machine_are_completed(tmp_path):
    (tmp_path / "state/mlflow-deployer/servers/team-a/team-a-cache").mkdir(parents=True)
    assert completions(tmp_path, "logs team-a --workload ''") == ["server", "cache"]
    assert completions(tmp_path, "logs team-a --workload c") == ["cache"]


def test_completion_creates_nothing(tmp_path):
    assert completions(tmp_path, "stop te") == []
    assert list(tmp_path.iterdir()) == []


def test_an_unreadable_state_directory_completes_nothing(tmp_path):
    (tmp_path / "state").write_text("no folder")
    assert completions(tmp_path, "stop te") == []
