import pytest

from deployer.core import errors
from deployer.core.errors import DeployerError, InvalidSpec, Problem
from deployer.core.remedies import Remedy


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("DeployerError", 1),
        ("NotFound", 1),
        ("StateError", 1),
        ("EnvironmentFailed", 1),
        ("VerificationFailed", 1),
        ("UsageError", 2),
        ("NotReady", 3),
        ("Forbidden", 4),
        ("Conflict", 5),
        ("Drifted", 6),
    ],
)
def test_every_failure_has_its_documented_exit_code(name, code):
    error = getattr(errors, name)("what happened", hint="what to type")
    assert error.exit_code == code
    assert isinstance(error, DeployerError)
    assert (str(error), error.message, error.hint) == ("what happened", "what happened", "what to type")


def test_an_invalid_spec_is_wrong_usage():
    assert InvalidSpec("file", (Problem("", "empty"),)).exit_code == 2


@pytest.mark.parametrize(
    ("problems", "message"),
    [
        ((Problem("", "empty"),), "f.yaml: 1 mistake\n  empty"),
        ((Problem("spec.a", "is missing"),), "f.yaml: 1 mistake\n  spec.a: is missing"),
        ((Problem("a", "x"), Problem("b", "y")), "f.yaml: 2 mistakes\n  a: x\n  b: y"),
    ],
)
def test_an_invalid_spec_lists_every_mistake_path_first(problems, message):
    error = InvalidSpec("f.yaml", problems)
    assert str(error) == message
    assert error.problems == problems


def test_an_invalid_spec_says_what_to_type_next():
    assert InvalidSpec("f", ()).hint is Remedy.SEE_FIELDS
    assert InvalidSpec("f", (), hint="another").hint == "another"
