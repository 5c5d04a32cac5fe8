"""The output of `deployer env --format` is executed unchanged, in the program it is made for."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
import yaml
from nbclient import NotebookClient

from tests.local.conftest import HOSTILE_PASSWORD, HOSTILE_USER
from tests.support.machine import DEPLOYER, Machine
from tests.testbed.packages import SHELLS, install

CHECK = (
    "import mlflow, os; from mlflow.utils.credentials import read_mlflow_creds as read;"
    "print('seen', len(mlflow.search_experiments()) > 0, *read(), os.environ['MLFLOW_TRACKING_URI'], sep='|')"
)


@pytest.fixture(scope="module")
def printed(server: Machine) -> Callable[..., str]:
    """Returns the output of one format, and checks that the output does not contain the password."""

    def of(form: str, **env: str) -> str:
        text = server.run("env", "--format", form, env=env).stdout
        assert HOSTILE_PASSWORD not in text
        return text

    return of


@pytest.fixture(scope="module")
def seen(server: Machine) -> str:
    """The output of a client that has reached the server with the right login."""
    return f"seen|True|{HOSTILE_USER}|{HOSTILE_PASSWORD}|{server.json('status')['address']}"


@pytest.fixture(scope="module")
def python(client_python: str) -> str:
    """A researcher's Python that can run notebooks, and reads .env files."""
    packages = ["ipykernel", "python-dotenv"]
    uv = str(DEPLOYER.with_name("uv"))
    subprocess.run([uv, "pip", "install", "--quiet", "--python", client_python, *packages], check=True, timeout=600)
    return client_python


def run(command: list[str], home: Path, code: int = 0, **env: str) -> subprocess.CompletedProcess[str]:
    clean = {"PATH": "/usr/bin:/bin", "HOME": str(home), **env}
    done = subprocess.run(command, env=clean, capture_output=True, text=True, timeout=120, cwd=home, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done


@pytest.mark.parametrize("shell", ["sh", "bash", "dash", "fish"])
def test_the_lines_of_a_shell_set_the_variables_of_a_client(
    printed: Callable[..., str], server: Machine, tmp_path: Path, shell: str
) -> None:
    if shell == "fish" and not shutil.which("fish"):
        install(SHELLS)
    proxy = {"http_proxy": "http://127.0.0.1:9"}
    script = printed("fish" if shell == "fish" else "shell", **proxy) + "env\n"
    out = run([shell, "-c", script], tmp_path, no_proxy="a.example").stdout.splitlines()
    assert f"MLFLOW_TRACKING_URI={server.json('status')['address']}" in out
    assert f"MLFLOW_TRACKING_USERNAME={HOSTILE_USER}" in out
    assert f"MLFLOW_TRACKING_PASSWORD={HOSTILE_PASSWORD}" in out
    assert {"no_proxy=127.0.0.1,a.example", "NO_PROXY=127.0.0.1"} <= set(out)


def test_create_and_env_print_the_same_lines(printed: Callable[..., str], server: Machine) -> None:
    lines = printed("shell").splitlines()
    assert server.json("env")["lines"] == lines
    created = [line.strip() for line in server.run("create").stdout.splitlines()]
    assert [line for line in created if line.startswith("export ")] == lines


def test_plain_mlflow_trains_by_the_lines_of_bash(
    printed: Callable[..., str], python: str, tmp_path: Path, seen: str
) -> None:
    script = printed("shell") + f'exec "{python}" -c "$0"\n'
    assert run(["bash", "-ec", script, CHECK], tmp_path).stdout.splitlines()[-1] == seen


def test_a_job_of_slurm_reads_the_login_from_the_file_and_no_stale_variable(
    printed: Callable[..., str], server: Machine, python: str, tmp_path: Path, seen: str
) -> None:
    """The job runs as in Slurm: a copy in the spool folder, with the variables of the submitting shell."""
    lines = printed("slurm").splitlines()
    assert lines[0] == "#!/bin/bash"
    options = [line for line in lines if line.startswith("#SBATCH ")]
    assert lines[1 : len(options) + 1] == options  # sbatch reads no option after the first command
    assert all(line.startswith("#SBATCH --") and "=" in line for line in options)
    job = tmp_path / "spool" / "slurm_script"
    job.parent.mkdir()
    job.write_text("\n".join([*lines, f'"{python}" -c "$CHECK"']) + "\n")
    stale = {"MLFLOW_TRACKING_USERNAME": "old", "MLFLOW_TRACKING_PASSWORD": "old", "CHECK": CHECK}
    refused = run(["bash", str(job)], tmp_path, 78, **stale).stderr
    assert "there is no login for MLflow in ~/.mlflow/credentials" in refused
    (hint,) = [line.removeprefix("Next: ") for line in refused.splitlines() if line.startswith("Next: ")]
    passed = {name: os.environ[name] for name in ("LANG",) if name in os.environ}
    run(["sh", "-c", hint], tmp_path, **passed)
    assert run(["bash", str(job)], tmp_path, **stale).stdout.splitlines()[-1] == seen


def test_python_dotenv_and_docker_read_a_dotenv_file_alike(
    printed: Callable[..., str], server: Machine, python: str, tmp_path: Path, seen: str
) -> None:
    text = printed("dotenv", http_proxy="http://127.0.0.1:9", no_proxy="a.example")
    (tmp_path / ".env").write_text(text)
    server.run("login", env={"HOME": str(tmp_path)})
    reading = "import dotenv, json; values = dotenv.dotenv_values('.env'); dotenv.load_dotenv('.env')"
    program = f"{reading}; {CHECK}; print(json.dumps(values))"
    *_, said, values = run([python, "-c", program], tmp_path).stdout.splitlines()
    assert said == seen
    # docker/cli opts/file.go: lines with a leading # are comments, and a value is all text after the first =
    pairs = [line.split("=", 1) for line in text.splitlines() if not line.startswith("#")]
    assert json.loads(values) == dict(pairs)
    assert dict(pairs)["no_proxy"] == "127.0.0.1,a.example"


def test_a_notebook_cell_logs_its_kernel_in(
    printed: Callable[..., str], python: str, tmp_path: Path, seen: str
) -> None:
    kernel = tmp_path / "kernels" / "client"
    kernel.mkdir(parents=True)
    command = [python, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (kernel / "kernel.json").write_text(json.dumps({"argv": command, "display_name": "client", "language": "python"}))
    cells = [nbformat.v4.new_code_cell(text) for text in (printed("jupyter"), CHECK)]
    book = nbformat.v4.new_notebook(cells=cells)
    home = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "IPYTHONDIR": str(tmp_path / "ipython")}
    client = NotebookClient(book, kernel_name="client", timeout=120)
    client.create_kernel_manager()
    assert client.km is not None
    client.km.kernel_spec_manager.kernel_dirs = [str(kernel.parent)]
    client.execute(env=home, cwd=str(tmp_path))
    assert book.cells[0].outputs == []
    assert book.cells[1].outputs[-1]["text"].splitlines()[-1] == seen


DOCKER = """#!/bin/sh
for word; do printf '%s\\n' "$word"; done >"$HOME/arguments"
env >"$HOME/environment"
"""


def test_docker_gets_only_the_name_of_the_password_variable(printed: Callable[..., str], tmp_path: Path) -> None:
    """Docker is not installed: a program of that name records its arguments and its environment."""
    (tmp_path / "bin").mkdir()
    docker = tmp_path / "bin" / "docker"
    docker.write_text(DOCKER)
    docker.chmod(0o755)
    path = f"{docker.parent}:/usr/bin:/bin"
    assert "set it to the image" in run(["sh", "-c", printed("docker")], tmp_path, 2, PATH=path).stderr
    run(["sh", "-ec", printed("docker")], tmp_path, PATH=path, IMAGE="lab/train")
    words = (tmp_path / "arguments").read_text().splitlines()
    assert words[0] == "run"
    assert words[words.index("MLFLOW_TRACKING_PASSWORD") - 1] == "--env"
    assert words[words.index("host") - 1] == "--network"
    assert words[-3:] == ["lab/train", "python", "train.py"]
    assert HOSTILE_PASSWORD not in " ".join(words)
    assert f"MLFLOW_TRACKING_PASSWORD={HOSTILE_PASSWORD}" in (tmp_path / "environment").read_text().splitlines()


def test_a_workflow_is_valid_for_github(printed: Callable[..., str], tmp_path: Path, seen: str) -> None:
    workflow = tmp_path / "train.yml"
    workflow.write_text(printed("github"))
    check = [str(DEPLOYER.with_name("check-jsonschema")), "--builtin-schema", "vendor.github-workflows", str(workflow)]
    run(check, tmp_path)
    document: dict[str, Any] = yaml.safe_load(workflow.read_text())
    env = document["jobs"]["train"]["steps"][-1]["env"]
    assert env["MLFLOW_TRACKING_USERNAME"] == HOSTILE_USER
    workflow.write_text(printed("github").replace("runs-on", "run-on"))
    run(check, tmp_path, 1)


def test_a_value_invalid_in_a_format_is_reported(server: Machine) -> None:
    refused = server.run(
        "env", "--format", "dotenv", env={"http_proxy": "http://127.0.0.1:9", "no_proxy": "a #b"}, code=2
    )
    assert "--format dotenv cannot hold" in refused.stderr
    assert refused.stdout == ""
