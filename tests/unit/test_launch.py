"""The server's program: its folder becomes a package, and MLflow's environment loses logins and shared secrets."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deployer.catalogue import PLUGINS
from deployer.plugin import mlflow_environment

# mlflow/environment_variables.py: anybody who knows one of these secrets can log in
SECRETS = (
    "_MLFLOW_ASSISTANT_DELEGATION_SIGNING_KEY",
    "_MLFLOW_ASSISTANT_DELEGATION_TOKEN",
    "_MLFLOW_INTERNAL_GATEWAY_AUTH_TOKEN",
)
LOGINS = (
    "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
)  # mlflow/utils/credentials.py


def configured(monkeypatch: pytest.MonkeyPatch, *names: str) -> set[str]:
    """Set variables with these names, configure MLflow, and return the variables that are left."""
    databases = {"MLFLOW_BACKEND_STORE_URI": "sqlite:///a", "MLFLOW_ARTIFACTS_DESTINATION": "/a"}
    monkeypatch.setattr(os, "environ", {**databases, **dict.fromkeys(names, "known to somebody")})
    mlflow_environment.configure_mlflow()
    assert os.environ["_MLFLOW_SERVER_FILE_STORE"] == "sqlite:///a"
    return set(names) & os.environ.keys()


def test_secrets_that_mlflow_shares_with_its_own_programs_are_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert configured(monkeypatch, *SECRETS) == set()


def test_logins_of_clients_are_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert configured(monkeypatch, *LOGINS) == set()


LOADING = """
import sys
folder = sys.path[0]  # of this script
sys.dont_write_bytecode = True
import launch
sys.dont_write_bytecode = False
launch.load()
from deployer_plugin import auth, seams
from deployer_plugin.auth import gate
from deployer_plugin.permissions import routes
assert folder not in sys.path
for name in ("auth", "seams", "storage"):  # such modules may exist elsewhere
    try:
        __import__(name)
    except ModuleNotFoundError:
        continue
    raise AssertionError(name)
print(gate.__file__, len(routes.parse(routes.FILE.read_text())) > 100)
"""


@pytest.mark.parametrize("linked", [False, True], ids=["folder", "as a ConfigMap is mounted"])
def test_the_plugin_is_a_package_that_hides_no_other_module_and_gets_no_compiled_files(
    tmp_path: Path, linked: bool
) -> None:
    folder, data = tmp_path / "files", tmp_path / "files" / "..data"
    shutil.copytree(PLUGINS, data if linked else folder, ignore=shutil.ignore_patterns("__pycache__", "programs"))
    (data if linked else folder).joinpath("loading.py").write_text(LOADING)
    if linked:
        for path in list(data.iterdir()):
            (folder / path.name).symlink_to(Path("..data") / path.name)
    command = [sys.executable, "-S", str(folder / "loading.py")]
    loaded = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert loaded.stderr == ""
    assert loaded.stdout.split() == [str((folder / "auth/gate.py").resolve()), "True"]
    assert list(tmp_path.rglob("__pycache__")) == []


MODULES = sorted(path for path in PLUGINS.rglob("*.py") if "programs" not in path.parts)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PLUGINS).as_posix())
def test_the_plugin_imports_mlflow_only_inside_functions(path: Path) -> None:
    found = set()
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(str(node.module).partition(".")[0])
    assert found - sys.stdlib_module_names <= {"h11", "uvicorn"}
