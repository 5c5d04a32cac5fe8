"""Complete files for training elsewhere, and the list of all formats of `deployer env`. They contain no password."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from deployer.core import quoting, snippets
from deployer.core.snippets import CA, PASSWORD, URI, USERNAME, Client, shell_way

_NO_CREDENTIALS: Final = 78  # sysexits.h EX_CONFIG


def slurm(client: Client) -> list[str]:
    """Return a script for sbatch. MLflow reads the login from the file that `deployer login` wrote."""
    login = client.line("login")
    ca_check = (
        [
            f'if ! [ -r "${CA}" ]; then',
            f'  echo "the certificate file ${CA} cannot be read on this node" >&2',
            f"  exit {_NO_CREDENTIALS}",
            "fi",
        ]
        if client.ca_file
        else []
    )
    return [
        "#!/bin/bash",
        "#SBATCH --job-name=train",
        "#SBATCH --time=01:00:00",
        "#SBATCH --nodes=1",
        "#SBATCH --ntasks=1",
        "#SBATCH --cpus-per-task=2",
        "#SBATCH --mem=4G",
        "#SBATCH --output=%x-%j.out",
        "# Many clusters want these two as well; take one # away and fill them in:",
        "##SBATCH --account=PROJECT",
        "##SBATCH --partition=PARTITION",
        "#",
        f"# Once, where you submit from:  {quoting.comment(login)}",
        "# Then submit it:               sbatch job.sh",
        *_slurm_notes(client),
        "",
        "# sbatch carries the submitting shell's variables along, and they would win over the file",
        f"unset {USERNAME} {PASSWORD} MLFLOW_TRACKING_TOKEN",
        f"export {URI}={quoting.shell(client.url)}",
        *shell_way(client),
        "if ! [ -r ~/.mlflow/credentials ]; then",
        "  printf '%s\\n' 'there is no login for MLflow in ~/.mlflow/credentials, or it cannot be read here.' \\",
        f"    {quoting.shell('Next: ' + login)} >&2",
        f"  exit {_NO_CREDENTIALS}",
        "fi",
        *ca_check,
        "",
        "# Your training goes here, for example:",
        "#   srun python train.py",
    ]


def _slurm_notes(client: Client) -> list[str]:
    if client.at_loopback:
        return ["# This server answers on its own machine alone: a job on another node does not reach it."]
    if client.in_cluster:
        return ["# This server answers inside its Kubernetes cluster alone: a job of Slurm does not reach it."]
    return []


def github(client: Client) -> list[str]:
    """Return a workflow for a repository on GitHub, .github/workflows/train.yml."""
    secrets = {PASSWORD: f"{client.line('show-password')} | gh secret set {PASSWORD}"}
    if client.ca_file:
        secrets["MLFLOW_CA"] = f"gh secret set MLFLOW_CA < {quoting.shell(client.ca_file)}"
    return [
        "# Save as .github/workflows/train.yml. Once, in a checkout of the repository:",
        *(f"#   {quoting.comment(line)}" for line in secrets.values()),
        *_github_notes(client),
        "name: train",
        "on:",
        "  workflow_dispatch:",
        "permissions:",
        "  contents: read",
        "jobs:",
        "  train:",
        f"    runs-on: {'self-hosted' if client.at_loopback or client.in_cluster else 'ubuntu-latest'}",
        "    steps:",
        "      - uses: actions/checkout@v4",
        "      - uses: actions/setup-python@v5",
        "        with:",
        '          python-version: "3.12"',
        "      - run: pip install mlflow",
        *_github_ca(client),
        "      - run: python train.py",
        "        env:",
        f"          {URI}: {quoting.yaml(client.url)}",
        f"          {USERNAME}: {quoting.yaml(client.username)}",
        f"          {PASSWORD}: ${{{{ secrets.{PASSWORD} }}}}",
        *([f"          {CA}: ${{{{ runner.temp }}}}/mlflow-ca.pem"] if client.ca_file else []),
    ]


def _github_notes(client: Client) -> list[str]:
    if client.at_loopback:
        return ["# This server answers on its own machine alone: the job needs a runner of yours there (self-hosted)."]
    if client.in_cluster:
        return ["# This server answers inside its cluster alone: the job needs a runner of yours there (self-hosted)."]
    return []


def _github_ca(client: Client) -> list[str]:
    if not client.ca_file:
        return []
    return [
        '      - run: printf "%s\\n" "$MLFLOW_CA" > "$RUNNER_TEMP/mlflow-ca.pem"',
        "        env:",
        "          MLFLOW_CA: ${{ secrets.MLFLOW_CA }}",
    ]


FORMS: Final[Mapping[str, Callable[[Client], list[str]]]] = {
    "shell": snippets.shell,
    "fish": snippets.fish,
    "powershell": snippets.powershell,
    "cmd": snippets.cmd,
    "dotenv": snippets.dotenv,
    "slurm": slurm,
    "jupyter": snippets.jupyter,
    "docker": snippets.docker,
    "github": github,
}
"""All formats of `deployer env`: a function from a client to lines."""
ELSEWHERE: Final = frozenset({"slurm", "github"})
"""The formats of jobs that run on other machines."""
