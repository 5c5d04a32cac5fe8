"""The table of seams inside MLflow, and the errors about an MLflow that differs from the table."""

from __future__ import annotations

import sys
from collections import Counter
from types import ModuleType, SimpleNamespace

import pytest

from deployer.catalogue import PLUGINS
from deployer.plugin import seams


def checked(user, password, *, primary=False):
    return user, password, primary


@pytest.fixture
def mlflow(monkeypatch):
    """Return a module that replaces MLflow's and fits TABLE."""
    module = ModuleType("fake_mlflow")
    module.checked, module.Store = checked, SimpleNamespace(search=lambda self, name=None: name)
    module.TABLE, module.OTHER, module.ROUTES = {"route": checked}, {}, frozenset({"/a"})
    module.VARIABLE, module.TEXT = SimpleNamespace(name="MLFLOW_A"), "MLFLOW_B"
    monkeypatch.setitem(sys.modules, "fake_mlflow", module)
    table = f"""# a comment
3.17,3.18 signature  a/b   fake_mlflow:checked      (user, password, *, primary=False)
3.17,3.18 signature  a/b   fake_mlflow:Store.search (self, name=None)
3.17      source     a/b,c fake_mlflow:checked      {seams.text_of(checked)}
3.18      signature  a/b   fake_mlflow:only_of_3_18 ()
3.17      handler    a/b   fake_mlflow:checked      OTHER|TABLE
3.17      type       a/b   fake_mlflow:ROUTES       frozenset
3.17      variable   a/b   fake_mlflow:VARIABLE     MLFLOW_A
3.17      variable   a/b   fake_mlflow:TEXT         MLFLOW_B
3.17      signature? a/b   fake_mlflow:shortened    (path)
"""
    monkeypatch.setattr(seams, "SEAMS", seams.parse(table))
    return module


def test_an_mlflow_as_listed_is_accepted(mlflow):
    seams.check("3.17.2")


@pytest.mark.parametrize(
    ("name", "other", "told"),
    [
        ("checked", None, "there is no checked(user, password, *, primary=False)"),
        ("checked", lambda user: user, "checked(user) instead of checked(user, password, *, primary=False)"),
        ("checked", lambda user, password, *, primary=False: None, "checked does something else than it did"),
        ("Store", SimpleNamespace(), "there is no search(self, name=None)"),
        ("TABLE", {}, "checked is not in OTHER|TABLE"),
        ("ROUTES", ["/a"], "there is no frozenset ROUTES"),
        ("VARIABLE", SimpleNamespace(name="MLFLOW_C"), "there is no environment variable MLFLOW_A"),
        ("TEXT", None, "there is no environment variable MLFLOW_B"),
    ],
)
def test_a_seam_that_differs_is_named(mlflow, name, other, told):
    setattr(mlflow, name, other)
    with pytest.raises(seams.UnknownSeam) as refused:
        seams.check("3.17.2")
    assert told in str(refused.value)


def test_all_seams_that_differ_are_named_for_this_minor_version_only(mlflow):
    del mlflow.TEXT, mlflow.VARIABLE
    with pytest.raises(seams.UnknownSeam, match="MLFLOW_A; there is no environment variable MLFLOW_B"):
        seams.check("3.17.0")
    with pytest.raises(seams.UnknownSeam, match=r"^there is no only_of_3_18\(\)$"):
        seams.check("3.18.1")
    mlflow.only_of_3_18 = lambda: None
    seams.check("3.18.1")


def test_an_optional_seam_that_differs_is_tolerated_and_does_not_fit(mlflow, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", ModuleType("mlflow"))
    version = ModuleType("mlflow.version")
    monkeypatch.setitem(sys.modules, "mlflow.version", version)
    version.VERSION, place = "3.17.2", "fake_mlflow:shortened"
    assert seams.fits(place) is False
    mlflow.shortened = lambda path: path
    assert seams.fits(place) is True
    version.VERSION = "3.18.0"  # the table has no such line for 3.18
    assert seams.fits(place) is False


def test_no_seam_is_listed_twice_for_a_minor_version():
    lines = Counter((minor, seam.kind, seam.place) for seam in seams.SEAMS for minor in seam.minors)
    assert [line for line, count in lines.items() if count > 1] == []
    assert {seam.kind for seam in seams.SEAMS} == set(seams._DIFFERENCES)


@pytest.mark.parametrize("seam", seams.SEAMS, ids=lambda seam: f"{seam.kind} {seam.place}")
def test_each_listed_user_of_a_seam_names_the_seam(seam):
    name = seam.wanted if seam.kind == "variable" else seam.name
    assert [user for user in seam.users if name not in (PLUGINS / f"{user}.py").read_text("utf-8")] == []
