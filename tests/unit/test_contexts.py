import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deployer.core.errors import UsageError
from deployer.core.remedies import Remedy
from deployer.kube.contexts import Contexts, Named, kubeconfigs, read_contexts

from .strategies import hostile

ONE = """
apiVersion: v1
kind: Config
current-context: one
contexts:
- {name: one, context: {cluster: c1, user: u1, namespace: team-a}}
- {name: both, context: {cluster: c1, user: u1}}
"""
TWO = """
current-context: two
contexts:
- {name: two, context: {cluster: c2, user: u2}}
- {name: both, context: {cluster: c2, user: u2, namespace: team-b}}
"""


@pytest.fixture
def kubeconfig(tmp_path, monkeypatch):
    """Write files, name all of them in KUBECONFIG, and return the folder."""
    monkeypatch.setenv("HOME", str(tmp_path))

    def write(*contents):
        paths = []
        for number, content in enumerate(contents):
            paths.append(tmp_path / f"config-{number}")
            if content is not None:
                paths[-1].write_bytes(content if isinstance(content, bytes) else content.encode())
        monkeypatch.setenv("KUBECONFIG", os.pathsep.join(map(str, paths)))
        return tmp_path

    return write


def test_without_a_variable_the_file_in_the_home_folder_is_read(tmp_path, monkeypatch):
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert kubeconfigs() == [tmp_path / ".kube" / "config"]
    assert read_contexts() == Contexts({}, None)
    (tmp_path / ".kube").mkdir()
    (tmp_path / ".kube" / "config").write_text(ONE)
    assert read_contexts().current == "one"


@pytest.mark.parametrize(
    ("value", "names"),
    [("", [".kube/config"]), (":", [".kube/config"]), ("{0}/a", ["a"]), ("{0}/a::{0}/b:", ["a", "b"]), ("~/a", ["a"])],
)
def test_the_variable_lists_files_and_may_be_empty(tmp_path, monkeypatch, value, names):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("KUBECONFIG", value.format(tmp_path))
    assert kubeconfigs() == [tmp_path / name for name in names]


def test_a_context_has_a_cluster_and_a_namespace_or_the_default_namespace(kubeconfig):
    kubeconfig(ONE)
    assert read_contexts() == Contexts({"one": Named("c1", "team-a"), "both": Named("c1", "default")}, "one")


def test_the_first_file_that_has_a_value_wins(kubeconfig):
    kubeconfig(ONE, TWO)
    found = read_contexts()
    assert found.current == "one"
    assert found.contexts["both"] == Named("c1", "default")
    assert set(found.contexts) == {"one", "two", "both"}
    kubeconfig(TWO, ONE)
    found = read_contexts()
    assert found.current == "two"
    assert found.contexts["both"] == Named("c2", "team-b")


def test_a_file_without_a_current_context_defers_to_the_next_file(kubeconfig):
    kubeconfig("contexts: []\ncurrent-context: ''\n", ONE)
    assert read_contexts().current == "one"


@pytest.mark.parametrize("content", [None, "", "# nothing\n", "{}", "contexts:\ncurrent-context:\n"])
def test_a_missing_or_empty_file_is_skipped(kubeconfig, content):
    kubeconfig(content)
    assert read_contexts() == Contexts({}, None)
    kubeconfig(content, TWO)
    assert read_contexts().current == "two"


def test_a_context_name_that_looks_like_a_number_is_text(kubeconfig):
    kubeconfig("current-context: 5\ncontexts: [{name: 5, context: {cluster: 6, namespace: 7}}]")
    assert read_contexts() == Contexts({"5": Named("6", "7")}, "5")


@pytest.mark.parametrize(
    "content",
    [
        *("a: [", "- a\n", "just text", "5", "a: b: c", "\t", "a: *b", "!!python/object/apply:os.system [id]"),
        *("contexts: 5", "contexts: a", "contexts: [5]", "contexts: [{}]", "contexts: [{name: a, context: b}]"),
        *(b"a: \xff", b"a: \x00", b"\x1f\x8b\x08"),
    ],
)
def test_an_invalid_kubeconfig_is_named_and_not_quoted(kubeconfig, content):
    folder = kubeconfig(ONE, content)
    with pytest.raises(UsageError) as refusal:
        read_contexts()
    assert refusal.value.message == f"the kubeconfig {folder / 'config-1'} is not YAML of the right form"
    assert refusal.value.hint is Remedy.MEND_KUBECONFIG


def test_an_unreadable_file_is_named_with_the_reason(kubeconfig):
    folder = kubeconfig(None)
    (folder / "config-0").mkdir()  # even root cannot read a folder as a file
    with pytest.raises(UsageError, match=r"config-0 cannot be read: Is a directory") as refusal:
        read_contexts()
    assert refusal.value.hint is Remedy.MAKE_READABLE


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.one_of(hostile.map(str.encode), hostile.map(lambda text: f"contexts: {text}".encode()), st.binary()))
def test_any_bytes_are_contexts_or_a_usage_error(kubeconfig, content):
    kubeconfig(content)
    try:
        found = read_contexts()
    except UsageError:
        return
    assert all(isinstance(name, str) for name in found.contexts)
    assert found.current is None or isinstance(found.current, str)
