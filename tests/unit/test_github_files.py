"""The files that GitHub reads: they are valid, and name only commands, targets and versions that exist."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from deployer import __version__
from deployer.cli.app import COMMANDS

CHECKOUT = Path(__file__).resolve().parents[2]
GITHUB = CHECKOUT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").iterdir())
FORMS = sorted((GITHUB / "ISSUE_TEMPLATE").glob("[!c]*.yml"))
SCHEMAS = {
    "vendor.github-workflows": WORKFLOWS,
    "vendor.github-issue-forms": FORMS,
    "vendor.github-issue-config": [GITHUB / "ISSUE_TEMPLATE" / "config.yml"],
}
GUIDES = [CHECKOUT / "CONTRIBUTING.md", *FORMS, GITHUB / "pull_request_template.md"]
PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
TARGETS = set(re.findall(r"^([a-z-]+):", (CHECKOUT / "Makefile").read_text(), re.MULTILINE))


def steps(workflow):
    return [step for job in yaml.safe_load(workflow.read_text())["jobs"].values() for step in job["steps"]]


@pytest.mark.parametrize("schema", SCHEMAS)
def test_every_file_is_valid(schema):
    program = Path(sys.executable).with_name("check-jsonschema")
    command = [str(program), "--builtin-schema", schema, *map(str, SCHEMAS[schema])]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned_to_a_commit_and_run_targets_that_exist(workflow):
    for step in steps(workflow):
        assert re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", step.get("uses", "a/b@" + "0" * 40))
        assert set(re.findall(r"\bmake ([a-z-]+)$", step.get("run", ""), re.MULTILINE)) <= TARGETS


def test_the_oldest_python_of_the_checks_is_the_oldest_supported_one():
    matrix = yaml.safe_load((GITHUB / "workflows" / "check.yaml").read_text())["jobs"]["check"]["strategy"]["matrix"]
    assert f">={matrix['python'][0]}" == PROJECT["requires-python"]
    assert matrix["python"] == [f"3.{minor}" for minor in range(11, 14)]


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.name)
def test_every_command_and_target_that_a_guide_names_exists(guide):
    text = guide.read_text()
    named = set(re.findall(r"`deployer ([a-z-]+)", text))
    assert named <= {*COMMANDS, "version", "help"}
    assert set(re.findall(r"`make ([a-z-]+)", text)) <= TARGETS


def test_every_file_that_the_contributing_guide_names_exists():
    text = (CHECKOUT / "CONTRIBUTING.md").read_text()
    named = re.findall(r"`((?:\.github|\.ci|deployer|docs|templates|tests|tools|bench)/[\w./-]*)`", text)
    assert len(named) > 40
    assert [name for name in named if not (CHECKOUT / name).exists()] == []


def test_the_changelog_has_a_section_of_this_release():
    headings = re.findall(r"^## (.*)$", (CHECKOUT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == "[Unreleased]"
    assert re.fullmatch(rf"\[{re.escape(__version__)}\] - 20\d\d-[01]\d-[0-3]\d", headings[1])
