from hypothesis import given

from deployer.core import document
from deployer.core.changes import Change, spec_changes

from .strategies import HEADER, specs


def spec(**parts):
    return document.validate({**HEADER, **parts}, "file")


@given(specs())
def test_a_spec_does_not_differ_from_itself(one):
    assert spec_changes(one, one) == ()


@given(specs(), specs())
def test_two_specs_differ_exactly_where_changes_are_named(one, other):
    changes = spec_changes(one, other)
    assert (changes == ()) == (one == other)
    assert all(change.before != change.after for change in changes)


@given(specs(), specs())
def test_changes_turned_round_are_the_changes_back(one, other):
    there = spec_changes(one, other)
    assert spec_changes(other, one) == tuple(Change(c.path, c.after, c.before) for c in there)


def test_a_change_is_named_by_its_path_with_both_values():
    before, after = spec(), spec(spec={"auth": {"defaultPermission": "READ"}, "volume": {"storageClass": "fast"}})
    assert [str(change) for change in spec_changes(before, after)] == [
        'spec.auth.defaultPermission: "NO_PERMISSIONS" -> "READ"',
        'spec.volume.storageClass: (not set) -> "fast"',
    ]


def test_a_label_that_goes_away_is_a_change():
    before, after = spec(metadata={"labels": {"team": "a", "kept": ""}}), spec(metadata={"labels": {"kept": ""}})
    assert [str(change) for change in spec_changes(before, after)] == ['metadata.labels.team: "a" -> (not set)']


def test_another_kind_of_exposure_shows_as_a_whole():
    (change,) = spec_changes(spec(), spec(spec={"exposure": {"type": "none"}}))
    assert (change.path, change.before, change.after) == ("spec.exposure", None, {"type": "none"})
