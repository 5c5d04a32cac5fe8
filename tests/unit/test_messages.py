"""The messages of the real command about every mistake and every question."""

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
from deployer.core.secrets.references import SecretRef
from deployer.core.secrets.values import Secrets
from deployer.core.spec.document import parse
from deployer.core.spec.schema import Spec
from deployer.core.stack.assigned import Assigned
from deployer.core.stack.record import Record
from deployer.targets.local.store import LocalStore

from .mistakes import FILES, HEADER, MISTAKES, NOT_YAML

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
def test_a_mistake_gives_exactly_this_message(run, case) -> None:
    line, *wanted = case
    code, out, err = run(*line.split(" "))
    said = [text for text in err.splitlines() if not text.startswith("Target: ")]
    assert (out, LIBRARY.findall(err)) == ("", [])
    assert "canary" not in err
    assert "Next: " in err
    assert code == 2 or wanted == [None]
    for number, text in enumerate(wanted):
        assert text is None or said[number] == text
    assert None in wanted or len(said) == len(wanted)


@pytest.mark.parametrize(("text", "words"), NOT_YAML.items())
def test_invalid_yaml_is_reported_without_words_of_the_parser(text: str, words: str) -> None:
    with pytest.raises(errors.InvalidSpec) as refusal:
        parse(text.encode(), "a.yaml")
    assert refusal.value.message == f"a.yaml: 1 mistake\n  {words}"


def stored(spec: Spec) -> None:
    """Store the record of a server here, as an earlier command would do."""
    state = Path("state/mlflow-deployer").absolute()
    (state / "servers").mkdir(parents=True, mode=0o700)
    store = LocalStore(state, "mlflow")
    store.save(Record(spec, Assigned(ports={"http": 5000})))
    store.create_if_absent(Secrets({SecretRef("admin", "username"): "admin", SecretRef("admin", "current"): "x" * 12}))


def test_a_refused_change_is_not_shown_as_made(run) -> None:
    stored(Spec())
    code, _, err = run("create", "--username", "anna", "--workers", "2")
    assert code == 5
    assert "Change:" not in err
    assert err.splitlines()[1:] == [
        "Conflict: the administrator of this server is 'admin'; a spec cannot rename the account",
        "Next: leave --username out (spec.auth.adminUsername is 'admin')",
    ]


def test_nothing_is_deleted_if_nobody_can_confirm(run) -> None:
    stored(Spec())
    code, _, err = run("delete", "--delete-data")
    assert (code, "nothing was deleted" in err, "add --yes" in err) == (2, True, True)
    assert (Path("state/mlflow-deployer/servers/mlflow/secrets.json")).exists()
    assert run("delete", "--delete-data", "--yes")[0] == 0
    assert not Path("state/mlflow-deployer/servers/mlflow").exists()


@pytest.mark.parametrize("words", [("help",), ("--help",), ("-h",)])
def test_all_spellings_of_help_show_the_same_help(run, words) -> None:
    code, out, _ = run(*words)
    assert (code, out) == (0, run("--help")[1])
    assert all(f"\n  {name} " in out for name in COMMANDS)
    assert run("help", "create") == run("create", "--help")


def test_all_spellings_of_version_show_the_same_version(run) -> None:
    assert run("version") == run("--version")
    assert re.fullmatch(r"mlflow-deployer \d+\.\d+\.\d+\S*\n", run("version")[1])


@pytest.mark.parametrize("words", [("--help",), ("version",), ("create", "--help")])
def test_a_full_standard_output_is_reported(words) -> None:
    deployer = Path(sys.executable).with_name("deployer")
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [deployer, *words], stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=120
        )
    assert (done.returncode, done.stderr) == (1, "Error: cannot write to standard output: No space left on device\n")


def test_every_alias_leads_to_a_command_and_hides_none() -> None:
    assert set(unknown.ALIASES.values()) <= set(COMMANDS)
    assert not set(unknown.ALIASES) & set(COMMANDS)
    assert not set(unknown.OPTIONS) & {*COMMANDS, *unknown.ALIASES}


@pytest.mark.parametrize("command", COMMANDS)
def test_help_fits_a_terminal_of_80_columns_and_names_every_value(run, command: str) -> None:
    code, out, _ = run(command, "--help")
    assert code == 0
    assert max(map(len, out.splitlines())) <= 80
    options = out.partition("Examples:\n")[0]
    assert "<" not in options
    assert " range" not in options
    found = [re.match(r"  (?:-\w, )?(--[a-z0-9-]+)(?: ([A-Z/]+|local\|kubernetes|text\|json|NAME\|URL)\b)?", line)
             for line in out.splitlines()]  # fmt: skip
    valued = {match[1]: match[2] for match in found if match}
    assert {flag for flag, value in valued.items() if value is None} == {"--help", *_flags(command)}


@pytest.mark.parametrize("columns", [60, 100])
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


def test_make_demo_announces_each_slow_step() -> None:
    root = Path(__file__).parents[2]
    command = ["make", "--dry-run", "--always-make", "VENV=/nonexistent", "demo"]
    lines = subprocess.run(
        command, cwd=root, capture_output=True, text=True, check=True, timeout=60
    ).stdout.splitlines()
    (install,) = [number for number, line in enumerate(lines) if "pip install" in line]
    assert lines[install - 1].startswith('echo "Installing')
    assert "--quiet" not in lines[install]
    (create,) = [number for number, line in enumerate(lines) if "deployer create" in line]
    assert lines[create - 1].startswith('echo "Creating')


def test_a_table_is_as_wide_as_its_longest_cells(capsys) -> None:
    print_table(("a", "b"), [("x" * 5, "y")])
    assert capsys.readouterr().out == "A       B\nxxxxx   y\n"
