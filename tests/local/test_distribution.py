"""The packages of `make dist` are complete: without the sources, they create a server and render manifests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from deployer import __version__
from tests.support.machine import Machine

CHECKOUT = Path(__file__).resolve().parents[2]
RENDER = ("render", "team", "--profile", "rahti", "-n", "lab", "--host", "mlflow.example.org")


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(["make", "--silent", "dist", f"DIST={folder}"], cwd=CHECKOUT, check=True, timeout=300)
    return folder


@pytest.fixture(scope="module")
def wheel(dist: Path) -> Path:
    (found,) = dist.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` folder of an environment that contains only the wheel and its dependencies."""
    folder = tmp_path_factory.mktemp("installed")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True, timeout=120)
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(folder / "bin" / "python"),
        "install",
        "--quiet",
        "--no-compile",
    ]
    tested = ["--constraint", str(CHECKOUT / "constraints.txt")]
    subprocess.run([*pip, *tested, str(wheel)], cwd=folder, check=True, timeout=600)
    return folder / "bin"


def files(folder: str) -> set[str]:
    """Return the paths in a folder of the checkout, relative to the parent of that folder."""
    found = (CHECKOUT / folder).rglob("*")
    return {str(path.relative_to(CHECKOUT)) for path in found if path.is_file() and path.suffix != ".pyc"}


def test_the_wheel_holds_the_package_and_its_templates_and_no_other_file(wheel: Path) -> None:
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert held == files("deployer") | {f"deployer/{name}" for name in files("templates")}
    assert "deployer/py.typed" in held


def test_the_source_distribution_holds_package_templates_and_documentation(dist: Path) -> None:
    (archive,) = dist.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        held = {name.partition("/")[2] for name in opened.getnames()}
    assert held >= files("deployer") | files("templates") | files("docs")
    assert held - files("deployer") - files("templates") - files("docs") == {
        *("README.md", "CHANGELOG.md", "SECURITY.md", "LICENSE"),
        *("pyproject.toml", "PKG-INFO", ".gitignore"),
    }


def test_an_installed_package_creates_a_server_and_renders_manifests(machine: Machine, installed: Path) -> None:
    def run(*arguments: str) -> str:
        process = machine.program([str(installed / "deployer"), *arguments], arguments)
        return machine.ended(process, 0, arguments=arguments).stdout

    where = [str(installed / "python"), "-c", "import deployer; print(deployer.__file__)"]
    origin = subprocess.run(where, cwd=machine.home, check=True, capture_output=True, text=True, timeout=60).stdout
    assert Path(origin).is_relative_to(installed.parent)
    assert run("--version") == f"mlflow-deployer {__version__}\n"
    assert run(*RENDER) == machine.run(*RENDER).stdout
    created = json.loads(run("create", "--target", "local", "-o", "json"))
    assert [check["ok"] for check in created["verified"]] == [True] * 9
    run("delete", "--delete-data", "--yes")
    assert not os.listdir(machine.state / "servers")
