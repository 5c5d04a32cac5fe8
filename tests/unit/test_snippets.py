"""Each form has address, user, certificate and proxy where they are needed, and never a password."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess

import pytest
import yaml

from deployer.core.clients.job_scripts import FORMS
from deployer.core.clients.snippets import Client
from tests.unit.strategies import HAZARDS

PUBLIC = Client("team", "https://mlflow.example.org", "alice", options=("--context", "lab", "-n", "ml"))
PRIVATE = Client("team", "https://mlflow.example.org", "alice", ca_file="/etc/lab/ca.pem", around="localhost")
HERE = Client("mlflow", "http://127.0.0.1:5000", "admin", settings=(("XDG_STATE_HOME", "/data/state"),))
INSIDE = Client("mlflow", "http://mlflow.ml.svc:5000", "admin")
CLIENTS = {"public": PUBLIC, "private": PRIVATE, "here": HERE, "inside": INSIDE}


@pytest.mark.parametrize(("form", "which"), list(itertools.product(FORMS, CLIENTS)))
def test_every_form_has_address_and_certificate_and_proxy_where_they_are_needed(form: str, which: str) -> None:
    client = CLIENTS[which]
    text = "\n".join(FORMS[form](client))
    assert client.url in text
    assert ("MLFLOW_TRACKING_SERVER_CERT_PATH" in text) == (client.ca_file is not None)
    if form != "github":  # runners of GitHub are not behind the user's proxy
        assert ("NO_PROXY" in text) == (client.around is not None)
    assert ("deployer" in text) or form == "dotenv"


READ = """printf '%s\\0' "$MLFLOW_TRACKING_URI" "$MLFLOW_TRACKING_USERNAME" "$MLFLOW_TRACKING_PASSWORD" "$THEIR_CA"
"""


@pytest.mark.parametrize("shell", ["sh", "bash", "dash", "fish"])
def test_awkward_values_survive_the_real_shell(shell: str) -> None:
    """printf replaces deployer, and prints the words of its command line."""
    path = shutil.which(shell)
    if path is None:
        pytest.skip(f"{shell} is not installed; tests/local/test_snippets.py installs it")
    values = [value for value in HAZARDS if "\0" not in value and len(value) < 3000]
    clients = [
        Client("team", value, value, ("printf", "%s"), (value,), (("XDG_STATE_HOME", value),), value or "x", value)
        for value in values
    ]
    form = FORMS["fish" if shell == "fish" else "shell"]
    read = READ.replace("THEIR_CA", "MLFLOW_TRACKING_SERVER_CERT_PATH")
    script = "".join("\n".join(form(client)) + "\n" + read for client in clients)
    out = subprocess.run([path], input=script.encode(), capture_output=True, check=True, timeout=120).stdout
    said = [word.decode() for word in out.split(b"\0")[:-1]]
    for n, value in enumerate(values):
        url, user, password, ca_file = said[4 * n : 4 * n + 4]
        assert (url, user, ca_file) == (value, value, value or "x")
        assert password == f"show-passwordteam{value}".rstrip("\n")


@pytest.mark.parametrize("value", [value for value in HAZARDS if "\0" not in value and len(value) < 3000][::7])
def test_awkward_values_survive_a_cell_of_a_notebook(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client("team", value, value, ("printf", "%s"), (value,), (("XDG_STATE_HOME", value),), value or "x")
    for name in ("URI", "USERNAME", "PASSWORD", "SERVER_CERT_PATH"):
        monkeypatch.setenv(f"MLFLOW_TRACKING_{name}", "")
    exec("\n".join(FORMS["jupyter"](client)), {})
    assert os.environ["MLFLOW_TRACKING_USERNAME"] == value
    printed = f"show-passwordteam{value}".replace("\r\n", "\n").replace("\r", "\n")  # as in text mode
    assert os.environ["MLFLOW_TRACKING_PASSWORD"] == printed.removesuffix("\n")


@pytest.mark.parametrize("form", ["shell", "fish", "powershell", "cmd", "jupyter", "docker", "github"])
def test_the_password_is_read_by_a_command_that_names_the_place(form: str) -> None:
    line = next(line for line in FORMS[form](PUBLIC) if "show-password" in line)
    for word in ("team", "--context", "lab", "-n", "ml"):
        assert word in line


@pytest.mark.parametrize("form", ["slurm", "dotenv"])
def test_forms_without_a_login_say_how_to_store_a_login(form: str) -> None:
    text = "\n".join(FORMS[form](PUBLIC))
    assert "deployer login team --context lab -n ml" in text
    assert "show-password" not in text


def test_a_workflow_takes_password_and_certificate_from_secrets() -> None:
    lines = FORMS["github"](PRIVATE)
    assert "#   deployer show-password team | gh secret set MLFLOW_TRACKING_PASSWORD" in lines
    assert "#   gh secret set MLFLOW_CA < /etc/lab/ca.pem" in lines
    steps = yaml.safe_load("\n".join(lines))["jobs"]["train"]["steps"]
    assert steps[-1]["env"]["MLFLOW_TRACKING_PASSWORD"] == "${{ secrets.MLFLOW_TRACKING_PASSWORD }}"
    assert [step for step in steps[:-1] if "PASSWORD" in str(step)] == []


@pytest.mark.parametrize(
    ("which", "runner"), [("public", "ubuntu-latest"), ("here", "self-hosted"), ("inside", "self-hosted")]
)
def test_a_workflow_runs_where_the_server_can_be_reached(which: str, runner: str) -> None:
    assert yaml.safe_load("\n".join(FORMS["github"](CLIENTS[which])))["jobs"]["train"]["runs-on"] == runner


def test_a_container_gets_the_password_by_name() -> None:
    assert "  --env MLFLOW_TRACKING_PASSWORD \\" in FORMS["docker"](PUBLIC)


def test_a_container_reaches_this_machine_and_reads_the_certificate() -> None:
    assert "  --network host \\" in FORMS["docker"](HERE)
    assert not [line for line in FORMS["docker"](PUBLIC) if "--network" in line]
    text = "\n".join(FORMS["docker"](PRIVATE))
    assert "--mount type=bind,source=/etc/lab/ca.pem,target=/etc/mlflow-ca.pem,readonly" in text
    assert "--env MLFLOW_TRACKING_SERVER_CERT_PATH=/etc/mlflow-ca.pem" in text


def test_forms_for_windows_run_deployer_through_wsl() -> None:
    client = Client("mlflow", "http://127.0.0.1:5000", "admin", windows=("wsl.exe", "-d", "Debian", "-e"))
    assert "in ('wsl.exe -d Debian -e deployer show-password mlflow')" in "\n".join(FORMS["cmd"](client))
    assert "& 'wsl.exe' '-d' 'Debian' '-e' 'deployer'" in "\n".join(FORMS["powershell"](client))
    assert "wsl.exe" not in "\n".join(FORMS["shell"](client))


def test_each_shell_bypasses_the_proxy_in_its_own_syntax() -> None:
    assert FORMS["powershell"](PRIVATE)[-1] == (
        "$env:NO_PROXY = (@('mlflow.example.org', $env:NO_PROXY) | Where-Object { $_ }) -join ','"
    )
    assert FORMS["cmd"](PRIVATE)[-2:] == [
        '@if defined NO_PROXY set "NO_PROXY=mlflow.example.org,%NO_PROXY%"',
        '@if not defined NO_PROXY set "NO_PROXY=mlflow.example.org"',
    ]
    assert "NO_PROXY=mlflow.example.org,localhost" in FORMS["dotenv"](PRIVATE)
