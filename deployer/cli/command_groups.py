"""All commands by group, each with its purpose, and examples of the main commands."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

GROUPS: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {
        "Lifecycle": {
            "create": "Create a server, or bring one up to date, and prove it.",
            "run": "Run a server in the foreground: under Slurm, systemd or Open OnDemand.",
            "stop": "Stop a server; everything is kept.",
            "start": "Start a stopped server again.",
            "delete": "Delete a server; its data and credentials are kept unless told otherwise.",
        },
        "Inspect": {
            "status": "Show one server: state, address, version.",
            "list": "List all servers.",
            "wait": "Wait until a server is ready, or proven.",
            "logs": "Print a server's log.",
            "diff": "Show what differs from what was asked for.",
            "verify": "Prove that a server works and is closed to strangers.",
        },
        "Use": {
            "open": "Open a server in the browser.",
            "env": "Print what points MLflow clients at a server: shell, notebook, Slurm, container, GitHub.",
            "share": "Print what a colleague needs to start; the password is not in it.",
        },
        "Credentials": {
            "login": "Check a login and keep it where MLflow looks for it.",
            "logout": "Take a kept login away again, and give back the one before it.",
            "show-password": "Print the administrator's password, or a member's.",
            "rotate-password": "Give the administrator or a member a new password.",
            "rotate-keys": "Exchange the keys of the bucket that a server keeps its artifacts in.",
        },
        "Prepare": {
            "init": "Write a commented spec file to start from.",
            "profiles": "List the kinds of cluster that are known.",
            "schema": "Print the JSON Schema of a spec file.",
            "render": "Print the Kubernetes manifests of a server; needs no cluster.",
            "completion": "Print a script that completes commands, options and names of servers in a shell.",
        },
    }
)
COMMANDS: Final[Mapping[str, str]] = MappingProxyType(
    {name: purpose for group in GROUPS.values() for name, purpose in group.items()}
)

# what each example does, and the example
EXAMPLES: Final[Mapping[str, tuple[tuple[str, str], ...]]] = MappingProxyType(
    {
        "create": (
            ("a server on this machine", "deployer create --target local"),
            ("with artifacts in a new bucket of Allas", "deployer create --bucket my-lab-mlflow --make-bucket"),
            ("on a cluster, behind its Ingress", "deployer create -n my-lab --host mlflow.example.org"),
            ("from a file", "deployer create -f team.yaml"),
        ),
        "run": (
            ("in a job of Slurm, until the job ends", 'deployer run --host "$(hostname -f)"'),
            ("a second server beside the first", "deployer run trial --port 5001"),
        ),
        "delete": (
            ("keep data and credentials", "deployer delete"),
            ("in scripts: delete everything, for good", "deployer delete trial --delete-data --yes"),
        ),
        "status": (
            ("the server `mlflow`", "deployer status"),
            ("print each change of `trial`, as JSON", "deployer status trial --watch -o json"),
        ),
        "wait": (("in a script, before the training", "deployer wait --for verified --timeout 900"),),
        "render": (
            (
                "manifests and Secrets for Rahti",
                "deployer render team --profile rahti -n my-project --credentials secrets.yaml",
            ),
        ),
        "verify": (
            ("a server of deployer", "deployer verify"),
            ("any MLflow server", "deployer verify --tracking-uri https://mlflow.example.org"),
        ),
        "env": (
            ("in the shell where the training runs", 'eval "$(deployer env)"'),
            ("a job script for sbatch", "deployer env --format slurm > job.sh"),
        ),
        "login": (
            ("the administrator of a server of deployer", "deployer login"),
            ("a member of any server", "deployer login https://mlflow.example.org --username anna"),
        ),
        "share": (("for a colleague with an account", "deployer share --user anna"),),
        "rotate-password": (
            ("of the administrator", "deployer rotate-password"),
            ("of a member, from standard input", "deployer rotate-password --user anna --password-file -"),
        ),
        "completion": (("in ~/.bashrc", "source <(deployer completion bash)"),),
    }
)
GENERAL: Final = (
    ("a server on this machine, ready to use", "deployer create --target local"),
    ("point the MLflow clients of this shell at it", 'eval "$(deployer env)"'),
)
