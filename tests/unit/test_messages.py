"""What people are shown: every text of the command line that a mistake or a question ends in, by the real command."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from deployer.cli import unknown
from deployer.cli.app import COMMANDS, app
from deployer.cli.output import print_table
from deployer.core import errors
from deployer.core.assigned import Assigned
from deployer.core.record import Record
from deployer.core.secrets import Secrets
from deployer.core.spec import Spec
from deployer.core.stack import SecretRef
from deployer.targets.local.store import LocalStore

HEADER = "apiVersion: mlflow-deployer.github.io/v1alpha1\nkind: MLflowServer\n"
HELP = "Next: add --help to see every option"
CREATE_HELP = "Next: `deployer create --help` explains every flag"
LEAVE = "Next: leave it out"
HERE = "needs a cluster, and this server runs on this machine"
ELSEWHERE = "Next: leave it out, or add --target kubernetes"
NO_BUCKET = "needs a bucket, and this server keeps its artifacts on its volume"
ADD_BUCKET = "Next: add --bucket NAME, or leave it out"
ONE_LINE = "Next: use a file with the password alone, in printable ASCII characters"
AN_ADDRESS = "needs the NAME of a server: an address says itself where it is"
OR_NO_ADDRESS = "Next: give a NAME, or leave it out"

FILES = {
    "port.yaml": f"{HEADER}spec:\n  local:\n    port: 80\n",
    "mistakes.yaml": f"{HEADER}spec:\n  workers: many\n  database:\n    type: postgress\n  volume: {{sise: 1Gi}}\n",
    "cluster.yaml": f"{HEADER}spec:\n  volume:\n    size: 20Gi\n  pod:\n    nodeSelector: {{a: b}}\n",
    "machine.yaml": f"{HEADER}spec:\n  local: {{port: 8080}}\n",
    "image.yaml": f"{HEADER}spec:\n  mlflow:\n    image: https://ghcr.io/a\n",
    "defaults.yaml": f"{HEADER}spec:\n  volume: {{size: 10Gi}}\n  workers: 0\n",
    "two-lines": "first-password-line\nsecond-password-line\n",
    "binary": b"\xff\xfe\x00",
    "short": "short\n",
}

# words of the command line -> all that stands on standard error, but where the server is looked for; exit code 2
MISTAKES = [
    # values that are none: the flag is named, in no library's words
    ("create --port x", "Error: --port x: must be a whole number from 1024 to 65535", HELP),
    ("create --port 80", "Error: --port 80: must be a whole number from 1024 to 65535", HELP),
    ("create --port=", "Error: --port '': must be a whole number from 1024 to 65535", HELP),
    ("run --port 1e4", "Error: --port 1e4: must be a whole number from 1024 to 65535", HELP),
    ("create --workers 99", "Error: --workers 99: must be a whole number from 1 to 16", HELP),
    ("create --timeout soon", "Error: --timeout soon: must be a number of seconds, at least 1", HELP),
    ("create --timeout 0", "Error: --timeout 0: must be a number of seconds, at least 1", HELP),
    ("stop --timeout nan", "Error: --timeout nan: must be a number of seconds, at least 1", HELP),
    ("logs --tail -1", "Error: --tail -1: must be a whole number from 0 to 1000000", HELP),
    ("status --target Local", "Error: --target Local: must be local or kubernetes", HELP),
    ("status -o yaml", "Error: --output yaml: must be text or json", HELP),
    (
        "env --format bash",
        "Error: --format bash: must be shell, fish, powershell, cmd, dotenv, slurm, jupyter, docker or github",
        HELP,
    ),
    (
        "create --username a:b",
        ("Error: --username a:b: must not contain ':', which ends the user name in HTTP basic authentication"),
        CREATE_HELP,
    ),
    (
        "create --default-permission read",
        "Error: --default-permission read: must be NO_PERMISSIONS, READ, EDIT or MANAGE",
        CREATE_HELP,
    ),
    ("create --mlflow-version 3", "Error: --mlflow-version 3: '3' is not a version like 3.17.2", CREATE_HELP),
    ("create --bucket A", "Error: --bucket A: has characters it cannot have", CREATE_HELP),
    (
        "create --bucket abc --s3-endpoint a3s.fi",
        "Error: --s3-endpoint a3s.fi: must be a URL such as https://a3s.fi",
        CREATE_HELP,
    ),
    ("create --bucket abc --transfer x", "Error: --transfer x: must be proxied or direct", CREATE_HELP),
    (
        "create --host a_b",
        "Error: --host a_b: must be a host name or an IP address of this machine, without scheme or port",
        CREATE_HELP,
    ),
    (
        "create --default-permission read --username a:b",
        "Error: the command line: 2 mistakes",
        "  --username a:b: must not contain ':', which ends the user name in HTTP basic authentication",
        "  --default-permission read: must be NO_PERMISSIONS, READ, EDIT or MANAGE",
        CREATE_HELP,
    ),
    (
        "render --profile aws",
        "Error: --profile aws: there is no such profile",
        "Next: it is kubernetes, kind, openshift, rahti or lumi-k",
    ),
    (
        "render --host A.b",
        ("Error: --host A.b: must be a host name such as mlflow.example.org, in lower case, without scheme or port"),
        CREATE_HELP,
    ),
    (
        "render -n A_b",
        "Error: --namespace A_b cannot be a namespace",
        "Next: it has lower-case letters, digits and '-', at most 63",
    ),
    (
        "list -n A_b",
        "Error: --namespace A_b cannot be a namespace",
        "Next: it has lower-case letters, digits and '-', at most 63",
    ),
    # flags that would change nothing
    *(
        (f"create {flag}", f"Error: {flag} {HERE}", LEAVE)
        for flag in (
            "--storage-class a",
            "--volume-size 20Gi",
            "--volume-size 10Gi",
            "--profile rahti",
            "--ingress-namespace edge",
        )
    ),
    *(
        (f"create {flag}", f"Error: {flag} {HERE}", ELSEWHERE)
        for flag in (
            "--tls-secret a",
            "--ingress-class a",
            "--gateway a/b",
            "--allow-from roihu",
            "--allow-everyone",
            "--expose none",
            "--expose route",
        )
    ),
    *(
        (f"{command} {flag}", f"Error: {flag} {NO_BUCKET}", ADD_BUCKET)
        for command in ("create", "run")
        for flag in ("--transfer direct", "--s3-region eu", "--s3-prefix a", "--s3-endpoint https://a.b")
    ),
    ("create --make-bucket", f"Error: --make-bucket {NO_BUCKET}", ADD_BUCKET),
    (
        "create --csc-project 2001234",
        "Error: --csc-project 2001234 needs --create-project",
        "Next: add it, or leave both out",
    ),
    (
        "create --create-project -n a --target local",
        ("Error: --namespace a needs a cluster, and --target local is this machine"),
        "Next: leave one of the two out",
    ),
    (
        "create --create-project",
        "Error: --create-project needs the project's name",
        "Next: add -n NAME; names are global",
    ),
    (
        "list --target local --context a",
        "Error: --context a needs a cluster, and --target local is this machine",
        "Next: leave one of the two out",
    ),
    ("login https://a.b --target local", f"Error: --target local {AN_ADDRESS}", OR_NO_ADDRESS),
    ("logout https://a.b -n a", f"Error: --namespace a {AN_ADDRESS}", OR_NO_ADDRESS),
    ("logout --target local", f"Error: --target local {AN_ADDRESS}", OR_NO_ADDRESS),
    (
        "logout --username a",
        "Error: --username a needs --keyring: the file has room for one login",
        "Next: add it, or leave both out",
    ),
    ("verify a --tracking-uri https://a.b", "Error: a and --tracking-uri are two servers", "Next: leave one out"),
    ("verify --context a --tracking-uri https://a.b", f"Error: --context a {AN_ADDRESS}", OR_NO_ADDRESS),
    (
        "login --password-file short",
        "Error: --password-file needs --username, which says whose password it is",
        "Next: add --username NAME",
    ),
    (
        "render --host a.b --credentials out -f external.yaml",
        ("Error: --credentials needs --database-file: the Secrets hold the URLs of the databases"),
        None,
    ),
    # files: line and path, and hints that fit
    (
        "create -f port.yaml",
        "Error: port.yaml: 1 mistake",
        "  line 5: spec.local.port: must be at least 1024",
        "Next: `deployer schema` prints every field",
    ),
    (
        "render -f mistakes.yaml",
        "Error: mistakes.yaml: 3 mistakes",
        "  line 4: spec.workers: must be a whole number",
        "  line 6: spec.database.type: must be sqlite or external",
        "  line 7: spec.volume.sise: unknown key; did you mean 'size'?",
        "Next: `deployer schema` prints every field",
    ),
    (
        "create -f cluster.yaml",
        "Error: cluster.yaml: 2 mistakes",
        f"  line 5: spec.volume.size: {HERE}",
        f"  line 7: spec.pod.nodeSelector: {HERE}",
        "Next: leave these lines out: they change nothing",
    ),
    (
        "render -f machine.yaml",
        "Error: machine.yaml: 1 mistake",
        "  line 4: spec.local.port: is for servers on this machine, and this one runs on a cluster",
        "Next: leave these lines out: they change nothing",
    ),
    (
        "render -f image.yaml",
        "Error: image.yaml: 1 mistake",
        (
            "  line 5: spec.mlflow.image: must be the reference of an image, which begins with a registry and has no "
            "scheme such as https://"
        ),
        "Next: `deployer schema` prints every field",
    ),
    (
        "create -f defaults.yaml",
        "Error: defaults.yaml: 1 mistake",
        "  line 5: spec.workers: must be at least 1",
        "Next: `deployer schema` prints every field",
    ),
    (
        "create -f missing.yaml",
        "Error: missing.yaml cannot be read as a spec file: there is no such file",
        "Next: `deployer init -f FILE` writes one to start from",
    ),
    (
        "create -f .",
        "Error: . cannot be read as a spec file: it is a directory",
        "Next: `deployer init -f FILE` writes one to start from",
    ),
    (
        "create --password-file missing",
        "Error: missing cannot be read as a password file: there is no such file",
        "Next: give the path of another",
    ),
    ("create --password-file two-lines", "Error: two-lines has 2 lines, and a password is one line", ONE_LINE),
    ("login a --username b --password-file two-lines", None),
    ("create --password-file binary", "Error: binary: the password is not text", ONE_LINE),
    (
        "create --password-file short",
        "Error: short: the password has 5 characters, MLflow needs at least 12",
        "Next: leave --password-file out and one is made for you",
    ),
    # commands of other tools
    *(
        (f"{typed}", f"Error: there is no command {typed}; did you mean {meant}?", f"Next: `deployer {meant} --help`")
        for typed, meant in {
            "ls": "list",
            "destroy": "delete",
            "rm": "delete",
            "apply": "create",
            "up": "create",
            "down": "stop",
            "log": "logs",
            "crate": "create",
            "passwd": "show-password",
        }.items()
    ),
    ("frobnicate", "Error: there is no command frobnicate", "Next: `deployer --help` lists them"),
]
LIBRARY = re.compile(
    r"Value error|Input should|unable to parse|not a valid|Errno|Traceback|<\w+>|\b[A-Z][a-z]+[A-Z]\w*: "
)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Run the real command in an empty home, and return its exit code and both outputs."""
    for name in ("KUBECONFIG", "MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_USERNAME", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)
    for name, content in FILES.items():
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    (tmp_path / "external.yaml").write_text(f"{HEADER}spec: {{database: {{type: external}}}}\n")

    def invoke(*words: str, env: dict[str, str] | None = None) -> tuple[int, str, str]:
        done = CliRunner().invoke(app, list(words), env=env, prog_name="deployer")
        return done.exit_code, done.stdout, done.stderr

    return invoke


@pytest.mark.parametrize("case", MISTAKES, ids=[case[0] for case in MISTAKES])
def test_a_mistake_is_told_in_these_words(run, case) -> None:
    line, *wanted = case
    code, out, err = run(*line.split(" "))
    said = [text for text in err.splitlines() if not text.startswith("Target: ")]
    assert (out, LIBRARY.findall(err)) == ("", [])
    assert "Next: " in err
    assert code == 2 or wanted == [None]
    for number, text in enumerate(wanted):
        assert text is None or said[number] == text
    assert None in wanted or len(said) == len(wanted)


def stored(spec: Spec) -> None:
    """Leave the record of a server here, as an earlier command did."""
    state = Path("state/mlflow-deployer").absolute()
    (state / "servers").mkdir(parents=True, mode=0o700)
    store = LocalStore(state, "mlflow")
    store.save(Record(spec, Assigned(ports={"http": 5000})))
    store.claim(Secrets({SecretRef("admin", "username"): "admin", SecretRef("admin", "current"): "x" * 12}))


def test_a_change_that_is_refused_is_not_shown_as_if_it_were_made(run) -> None:
    stored(Spec())
    code, _, err = run("create", "--username", "anna", "--workers", "2")
    assert code == 5
    assert "Change:" not in err
    assert err.splitlines()[1:] == [
        "Conflict: the administrator of this server is 'admin'; a spec cannot rename the account",
        "Next: leave --username out (spec.auth.adminUsername is 'admin')",
    ]


@pytest.mark.parametrize("words", [("help",), ("--help",), ("-h",)])
def test_help_is_found_however_it_is_asked_for(run, words) -> None:
    code, out, _ = run(*words)
    assert (code, out) == (0, run("--help")[1])
    assert all(f"\n  {name} " in out for name in COMMANDS)
    assert run("help", "create") == run("create", "--help")


def test_the_version_is_found_however_it_is_asked_for(run) -> None:
    assert run("version") == run("--version")
    assert re.fullmatch(r"mlflow-deployer \d+\.\d+\.\d+\S*\n", run("version")[1])


def test_every_alias_leads_to_a_command_and_hides_none() -> None:
    assert set(unknown.ALIASES.values()) <= set(COMMANDS)
    assert not set(unknown.ALIASES) & set(COMMANDS)
    assert not set(unknown.OPTIONS) & {*COMMANDS, *unknown.ALIASES}


@pytest.mark.parametrize("command", COMMANDS)
def test_help_fits_a_terminal_of_80_columns_and_names_every_value(run, command: str) -> None:
    code, out, _ = run(command, "--help")
    assert code == 0
    assert max(map(len, out.splitlines())) <= 80
    assert "<" not in out
    assert " range" not in out
    found = [re.match(r"  (?:-\w, )?(--[a-z0-9-]+)(?: ([A-Z/]+|local\|kubernetes|text\|json|NAME\|URL)\b)?", line)
             for line in out.splitlines()]  # fmt: skip
    valued = {match[1]: match[2] for match in found if match}
    assert {flag for flag, value in valued.items() if value is None} == {"--help", *_flags(command)}


@pytest.mark.parametrize("columns", [60, 140])
def test_help_is_as_wide_as_the_terminal(columns: int) -> None:
    deployer = Path(sys.executable).with_name("deployer")
    done = subprocess.run(
        [deployer, "create", "--help"],
        env={"COLUMNS": str(columns)},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert columns - 20 < max(map(len, done.stdout.splitlines())) <= columns


def _flags(command: str) -> set[str]:
    """Return the options of a command that take no value."""
    group = get_command(app)
    found = group.get_command(None, command)  # type: ignore[attr-defined]
    return {
        option
        for param in found.params
        if getattr(param, "is_flag", False)
        for option in param.opts
        if option[1] == "-"
    }


def test_the_profiles_fit_a_terminal_of_80_columns(run) -> None:
    code, out, _ = run("profiles")
    assert code == 0
    assert max(map(len, out.splitlines())) <= 80
    assert len(out.splitlines()) < 24
    known = json.loads(run("profiles", "-o", "json")[1])["profiles"]
    assert all(profile["recognisedBy"] in out for profile in known)


def test_init_offers_what_create_accepts(run) -> None:
    _, out, _ = run("init", "-f", "-")
    assert "(sqlite | external)" in out
    assert "(volume | s3)" in out
    assert "postgres" not in out.lower().replace("postgresql", "")


def test_every_kind_of_error_has_a_title_in_plain_words() -> None:
    kinds = [
        kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.DeployerError)
    ]
    assert len(kinds) > 8
    assert all(re.fullmatch(r"[A-Z][a-z]+( [a-z]+)*", kind.title) for kind in kinds)


def test_a_table_is_as_wide_as_its_longest_cells(capsys) -> None:
    print_table(("a", "b"), [("x" * 5, "y")])
    assert capsys.readouterr().out == "A       B\nxxxxx   y\n"
