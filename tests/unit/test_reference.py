"""The generated pages fit the current code, and are the same on any machine."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from deployer.cli.app import COMMANDS
from deployer.cli.flags import NAMES
from tools.reference import pages as reference
from tools.reference.markdown import anchor

CHECKOUT = Path(__file__).resolve().parents[2]
PRINT = "import json, tools.reference.pages as r; print(json.dumps(dict(r.pages())))"


@pytest.fixture(scope="module")
def pages():
    return reference.pages()


def test_the_pages_are_up_to_date(pages):
    stored = {path.name: path.read_text("utf-8") for path in reference.FOLDER.iterdir()}
    stale = sorted(name for name in {*pages, *stored} if pages.get(name) != stored.get(name))
    assert not stale, f"docs/reference/ is stale: {', '.join(stale)}. `make reference` writes it anew."


def test_the_pages_do_not_depend_on_the_terminal_or_the_user(pages, tmp_path):
    path = os.pathsep.join([str(CHECKOUT), *filter(None, sys.path)])
    env = {"HOME": str(tmp_path), "COLUMNS": "40", "LANG": "C", "USER": "nobody", "NO_COLOR": "1", "PYTHONPATH": path}
    done = subprocess.run(
        [sys.executable, "-c", PRINT], check=True, env=env, cwd=tmp_path, capture_output=True, timeout=60
    )
    assert done.stderr == b""
    assert json.loads(done.stdout) == pages


def test_the_pages_have_every_command_and_every_flag_of_the_spec(pages):
    headings = [line for line in pages["commands.md"].splitlines() if line.startswith("## ")]
    assert headings == [f"## deployer {name}" for name in COMMANDS]
    for path, flag in NAMES.items():
        assert flag in pages["commands.md"], path
        row = re.compile(rf"^\| `{path.rpartition('.')[2]}` \|.*\| `{re.escape(flag)}` \|$", re.MULTILINE)
        assert row.search(pages["spec.md"]), path


def test_no_link_is_broken(pages):
    for name, text in pages.items():
        headings = {anchor(line.lstrip("# ")) for line in text.splitlines() if line.startswith("#")}
        links = {part.partition(")")[0] for part in text.split("](")[1:]}
        assert links <= headings, name
