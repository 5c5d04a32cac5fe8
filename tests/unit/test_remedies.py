"""Errors of the lower layers carry values; only the command line knows the words that users type."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from deployer.cli.remedies import WORDS, words
from deployer.core.remedies import Remedy
from deployer.kube import session

KUBE = Path(session.__file__).parent
WORD = re.compile(r"(^|\s|`)(--[a-z]|-n NAME)")


def texts(path: Path) -> Iterator[str]:
    """Yield the texts in a file's code, without docstrings."""
    tree = ast.parse(path.read_text("utf-8"))
    said = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in said:
            yield node.value


@pytest.mark.parametrize("remedy", Remedy)
def test_each_remedy_has_words(remedy: Remedy) -> None:
    assert words(remedy) == WORDS[remedy]


def test_other_hints_are_words_already() -> None:
    assert words("try again") == "try again"


@pytest.mark.parametrize("path", sorted(KUBE.glob("*.py")), ids=lambda path: path.name)
def test_kube_knows_no_word_of_the_command_line(path: Path) -> None:
    # `oc whoami --context=NAME` is a call of another program
    assert [text for text in texts(path) if WORD.search(text) and text != "--context="] == []
