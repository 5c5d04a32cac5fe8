import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.core.errors import InvalidSpec
from deployer.core.spec.schema import Spec
from deployer.core.stack.assigned import Assigned, Pin
from deployer.core.stack.record import Record, record_from

from .strategies import hostile, names, specs

assigned = st.builds(
    Assigned,
    host=st.one_of(st.none(), names),
    namespace=st.one_of(st.none(), names),
    storage_class=st.one_of(st.none(), names),
    profile=st.one_of(st.none(), names),
    pin=st.one_of(st.none(), st.builds(Pin, image=names, digest=names)),
    ports=st.dictionaries(names, st.integers(1, 65535)),
)
records = st.builds(
    Record,
    spec=specs(),
    assigned=assigned,
    proof=st.one_of(st.none(), hostile),
    deleted=st.booleans(),
    fingerprints=st.dictionaries(names, names, max_size=2),
    version=st.integers(0),
)


@given(records)
def test_a_record_survives_a_json_file(record):
    assert record_from(json.loads(json.dumps(record.document())), "file") == record


def test_a_new_record_has_nothing_assigned_and_nothing_proven():
    record = Record(Spec())
    assert (record.assigned, record.proof, record.deleted, record.version) == (Assigned(), None, False, 0)


def test_the_mistakes_in_the_spec_of_a_record_are_named():
    data = Record(Spec()).document()
    data["spec"]["apiVersion"] = "mlflow-deployer.github.io/v9"
    with pytest.raises(InvalidSpec, match=r"state\.json: 1 mistake\n  apiVersion: must be"):
        record_from(data, "state.json")


def test_a_record_without_a_profile_and_fingerprints_is_still_read():
    data = Record(Spec()).document()
    del data["seals"], data["assigned"]["profile"]
    assert record_from(data, "file") == Record(Spec())


@pytest.mark.parametrize("key", ["spec", "assigned", "proof", "deleted", "version"])
def test_a_record_without_a_required_part_is_refused(key):
    data = Record(Spec()).document()
    del data[key]
    with pytest.raises(KeyError):
        record_from(data, "file")
