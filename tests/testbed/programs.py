"""Builds the Go programs of the cluster from one module, so that Go compiles shared packages once."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from tests.testbed import cache
from tests.testbed.command import follow, run
from tests.testbed.progress import Task

MODULE = Path(__file__).with_name("go")
TRIMPATH = "-trimpath"  # part of a package's identity in Go's build cache
KUBERNETES = "1.35.4"
COREDNS = "1.13.1"

_VERSION = "k8s.io/component-base/version"
_MAJOR, _MINOR, _ = KUBERNETES.split(".")


@dataclass(frozen=True)
class Program:
    """A command of the module: its package, and the `folders` with its sources."""

    name: str
    package: str
    folders: tuple[str, ...]
    flags: str = "-s -w"

    def sources(self) -> list[Path]:
        own = (file for folder in self.folders for file in sorted((MODULE / folder).rglob("*.go")))
        return [MODULE / "go.mod", MODULE / "go.sum", *own]


NODE = Program(
    "node",
    "./node",
    ("node", "loopcsi"),
    f"-s -w -X {_VERSION}.gitVersion=v{KUBERNETES} -X {_VERSION}.gitMajor={_MAJOR} -X {_VERSION}.gitMinor={_MINOR}",
)
PAUSE = Program("pause", "./pause", ("pause",))
DNS = Program("coredns", "./dns", ("dns",))
PROGRAMS = (NODE, PAUSE, DNS)


def binary(program: Program) -> Path:
    """Return the built program, without cgo, so that it runs in an image without a C library."""
    title = f"{program.name} (program {PROGRAMS.index(program) + 1} of {len(PROGRAMS)})"
    toolchain = run("go", "env", "GOVERSION", cwd=MODULE).strip()
    inputs = [toolchain, program.package, program.flags, *program.sources()]
    return cache.part(program.name, inputs, lambda target, task: _build(program, target, task), title) / program.name


def _build(program: Program, target: Path, task: Task) -> None:
    environment = {**os.environ, "CGO_ENABLED": "0", "GOGC": "400"}  # there is enough memory
    packages = _packages(program, task, environment)
    compiled = 0

    def told(line: str) -> None:
        nonlocal compiled
        compiled += line in packages
        task.how_far = f"{compiled} of {len(packages)} packages"

    flags = ("-v", TRIMPATH, "-ldflags", program.flags, "-o", target / program.name)
    follow("go", "build", *flags, program.package, told=told, cwd=MODULE, env=environment)


def _packages(program: Program, task: Task, environment: dict[str, str]) -> set[str]:
    """Return a program's packages that are not compiled yet; Go first downloads the modules."""
    packages: set[str] = set()
    downloaded = 0

    def told(line: str) -> None:
        nonlocal downloaded
        if line.startswith("go: downloading "):
            downloaded += 1
            task.how_far = f"{downloaded} Go modules downloaded"
        elif line:
            packages.add(line)

    stale = ("-deps", TRIMPATH, "-f", "{{if .Stale}}{{.ImportPath}}{{end}}")
    follow("go", "list", *stale, program.package, told=told, cwd=MODULE, env=environment)
    return packages


# kind of custom resource: Go module, version, path of its definitions
DEFINITIONS = {
    "gateway": ("sigs.k8s.io/gateway-api", "v1.4.0", "config/crd/standard/*.yaml"),
    "route": (
        "github.com/openshift/api",
        "v0.0.0-20251015095338-264e80a2b6e7",
        "route/v1/zz_generated.crd-manifests/*.yaml",
    ),
}


def definitions(kind: str) -> Path:
    """Return a folder with custom resource definitions from their project's Go module."""
    module, version, pattern = DEFINITIONS[kind]

    def build(target: Path, _: Task) -> None:
        folder = Path(json.loads(run("go", "mod", "download", "-json", f"{module}@{version}", cwd=target))["Dir"])
        for file in folder.glob(pattern):
            shutil.copyfile(file, target / file.name)

    return cache.part(f"crd-{kind}", [module, version, pattern], build)


def link(folder: Path) -> None:
    """Fill a cluster's folder of programs and definitions with links to this cache.

    Commands for a running cluster use these links, because another HOME has another cache, and newer sources have
    newer programs.
    """
    folder.mkdir()
    (folder / NODE.name).symlink_to(binary(NODE))
    for kind in DEFINITIONS:
        (folder / kind).symlink_to(definitions(kind))
