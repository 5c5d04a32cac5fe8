import pytest
import yaml
from hypothesis import given

from deployer.core.spec import document
from deployer.core.spec.example import example
from deployer.core.spec.schema import Spec

from .strategies import HEADER, specs


def read(text):
    return document.validate(document.parse(text.encode(), "file"), "file")


def test_the_example_is_the_default_spec():
    assert read(example(Spec())) == Spec()


@given(specs())
def test_the_example_of_any_spec_reads_back_as_that_spec(spec):
    assert read(example(spec)) == spec


@pytest.mark.parametrize("image", ["\U0001f600", "a\u00e9", "a # b", 'a"b', "a: b", "{{ a }}", "\ufeffa", "\ud7ff"])
def test_a_value_with_special_characters_reads_back_unchanged(image):
    spec = document.validate({**HEADER, "spec": {"local": {"python": image}}}, "file")
    assert read(example(spec)) == spec


def test_every_line_is_explained():
    lines = example(Spec()).splitlines()
    unexplained = [line for line in lines if not line.strip().startswith("#") and "# " not in line]
    sections = (
        "metadata:",
        "spec:",
        "mlflow:",
        "auth:",
        "database:",
        "artifacts:",
        "volume:",
        "networkPolicy:",
        "proxy:",
        "pod:",
        "local:",
    )
    assert [line for line in unexplained if line.strip() not in sections] == [
        '    type: "sqlite"',
        '    type: "volume"',
    ]


@pytest.mark.parametrize(
    ("field", "choices"),
    [
        ("database", "(sqlite | external)"),
        ("artifacts", "(volume | s3)"),
        ("defaultPermission", "(NO_PERMISSIONS | READ | EDIT | MANAGE)"),
        ("exposure", "(none | ingress | route | gateway)"),
    ],
)
def test_the_choices_of_a_field_are_listed(field, choices):
    lines = example(Spec()).splitlines()
    at = next(number for number, line in enumerate(lines) if line.strip().lstrip("# ").startswith(f"{field}:"))
    assert choices in lines[at] + lines[at - 1]


def test_fields_without_a_value_are_commented_out():
    data = yaml.safe_load(example(Spec()))
    assert "exposure" not in data["spec"]
    assert data["spec"]["local"] is None
    assert "# port:" in example(Spec())
