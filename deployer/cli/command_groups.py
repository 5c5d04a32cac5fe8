"""All commands by group, each with its purpose, and examples of the main commands."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

GROUPS: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {
        "Lifecycle": {
            "create": "Create or update a server, and verify it.",
            "run": "Run a server in the foreground, for Slurm, systemd or Open OnDemand.",
            "stop": "Stop a server; keep all data.",
            "start": "Start a stopped server.",
            "delete": "Delete a server; keep its data and credentials by default.",
        },
        "Inspect": {
            "status": "Show the state, address and version of a server.",
            "list": "List all servers.",
            "wait": "Wait until a server is ready or verified.",
            "logs": "Print a server's log.",
            "diff": "Show what differs from the spec.",
            "verify": "Check that a server works and refuses strangers.",
        },
        "Use": {
            "open": "Open a server in the browser.",
            "env": "Print the settings of MLflow clients for a shell, a notebook, Slurm, a container or GitHub.",
            "share": "Print instructions for a colleague, without the password.",
        },
        "Credentials": {
            "login": "Check a login and store it where MLflow reads it.",
            "logout": "Remove the stored login and restore the previous one.",
            "show-password": "Print the password for the administrator or a member.",
            "rotate-password": "Set a new password for the administrator or a member.",
            "rotate-keys": "Replace the S3 keys of a server.",
        },
        "Prepare": {
            "init": "Write a spec file with comments.",
            "profiles": "List the known kinds of cluster.",
            "schema": "Print the JSON Schema of a spec file.",
            "render": "Print the Kubernetes manifests of a server; needs no cluster.",
            "completion": "Print a script for the shell that completes commands, options and names.",
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
            ("in a Slurm job", 'deployer run --host "$(hostname -f)"'),
            ("a second server", "deployer run trial --port 5001"),
        ),
        "delete": (
            ("keep data and credentials", "deployer delete"),
            ("in scripts: delete everything", "deployer delete trial --delete-data --yes"),
        ),
        "status": (
            ("the default server", "deployer status"),
            ("print each change of server trial as JSON", "deployer status trial --watch -o json"),
        ),
        "wait": (("in a script, before the training", "deployer wait --for verified --timeout 900"),),
        "render": (
            (
                "manifests and Secrets for Rahti",
                "deployer render team --profile rahti -n my-project --credentials secrets.yaml",
            ),
        ),
        "verify": (
            ("your own server", "deployer verify"),
            ("any MLflow server", "deployer verify --tracking-uri https://mlflow.example.org"),
        ),
        "env": (
            ("in the shell where the training runs", 'eval "$(deployer env)"'),
            ("a job script for sbatch", "deployer env --format slurm > job.sh"),
        ),
        "login": (
            ("as the administrator of your own server", "deployer login"),
            ("as a member of any server", "deployer login https://mlflow.example.org --username anna"),
        ),
        "share": (("for a colleague with an account", "deployer share --user anna"),),
        "rotate-password": (
            ("for the administrator", "deployer rotate-password"),
            ("for a member, from standard input", "deployer rotate-password --user anna --password-file -"),
        ),
        "completion": (("in ~/.bashrc", "source <(deployer completion bash)"),),
    }
)
GENERAL: Final = (
    ("create a server on this machine", "deployer create --target local"),
    ("point the MLflow clients of this shell at the server", 'eval "$(deployer env)"'),
)
