"""Any bytes or data give a Spec or InvalidSpec, and nothing else."""

import copy

from hypothesis import given
from hypothesis import strategies as st

from deployer.core.errors import InvalidSpec
from deployer.core.spec.document import parse
from deployer.core.spec.schema import Spec
from tests.support.hypothesis_profiles import examples

from .readers import judged
from .strategies import HEADER, documents, hostile

WORDS = (
    *("apiVersion", "kind", "metadata", "name", "labels", "spec", "mlflow", "version", "image", "auth"),
    *("adminUsername", "admin_username", "defaultPermission", "database", "artifacts", "volume", "size", "type"),
    *("exposure", "host", "gateway", "sqlite", "postgres", "external", "s3", "bucket", "none", "ingress", "route"),
    *("networkPolicy", "local", "port", "python", "objectstore", "transfer", "READ", "8Gi", "3.17.2", "MLflowServer"),
)
TAGS = ("int", "float", "bool", "null", "str", "binary", "timestamp", "map", "seq", "set", "omap", "pairs", "merge")
TOKENS = (
    *WORDS[:12],
    *(": ", ":", ", ", "- ", "? ", "\n", "\n  ", "\n    ", " ", "\t", "#", "{", "}", "[", "]", "'", '"', "|", ">", "%"),
    *("&a ", "*a", "<<", "=", "---\n", "\n...\n", "%YAML 1.1\n", "%TAG ! a\n", "\\x", "\\U", "\\", "@", "`", "\ufeff"),
    *("0", "1", "-", "+", ".", "_", "e", "0x", "0b", "08", "1:2", ":59", ".0", ".inf", "2001-01-01", "T25:61:61Z"),
    *("null", "~", "true", "yes", "!", "!a ", *(f"!!{tag} " for tag in TAGS)),
)
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), hostile, st.sampled_from(WORDS), st.text(st.characters())
)
keys = st.one_of(st.sampled_from(WORDS), st.text(st.characters(), max_size=8))
json_like = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(keys, inner, max_size=5)),
    max_leaves=12,
)


def parsed(raw):
    """Return the mapping in `raw`, or None if InvalidSpec refuses it with a reason."""
    try:
        data = parse(raw, "file")
    except InvalidSpec as refusal:
        (problem,) = refusal.problems
        return None if problem.message else "refused without a reason"
    return data


def is_spec_or_refused(data):
    """Tell whether `data` is a Spec, or refused with a message for each mistake."""
    spec, problems = judged(data)
    if spec is None:
        return bool(problems) and all(problem.message for problem in problems)
    return isinstance(spec, Spec)


@given(st.binary())
def test_any_bytes_are_a_mapping_or_an_invalid_spec(raw):
    assert isinstance(parsed(raw), dict | None)


@examples(10)
@given(st.lists(st.one_of(st.sampled_from(TOKENS), st.text(max_size=3)), max_size=12).map("".join))
def test_any_mixture_of_yaml_indicators_is_a_spec_or_refused(text):
    data = parsed(text.encode())
    assert data is None or is_spec_or_refused(data)


@examples(5)
@given(st.sampled_from(TAGS), st.sampled_from(["a: ", "", "- ", "{a: ", "? "]), hostile | st.sampled_from(TOKENS))
def test_any_tag_before_any_text_is_a_spec_or_refused(tag, before, text):
    data = parsed(f"{before}!!{tag} {text}".encode())
    assert data is None or is_spec_or_refused(data)


@examples(3)
@given(st.dictionaries(keys, json_like, max_size=6))
def test_any_data_is_a_spec_or_an_invalid_spec(data):
    assert is_spec_or_refused(data)


def paths(data, here=()):
    yield here
    if isinstance(data, dict):
        for key, value in data.items():
            yield from paths(value, (*here, key))


@examples(3)
@given(data=st.data(), valid=documents(), value=json_like)
def test_a_wrong_value_in_a_good_file_is_blamed_on_its_place_only(data, valid, value):
    *parents, last = data.draw(st.sampled_from([path for path in paths(valid) if path]))
    spoilt = copy.deepcopy(valid)
    part = spoilt
    for key in parents:
        part = part[key]
    part[last] = value
    _, problems = judged(spoilt)
    # the message names a label by its key; the path of a wrong type is that of its part
    place = "metadata.labels" if "labels" in parents else ".".join([*parents, last]).removesuffix(".type")
    assert all(problem.path.startswith(place) for problem in problems)


@given(documents(), keys, json_like)
def test_an_unknown_key_is_never_ignored(valid, key, value):
    if key not in {*HEADER, "metadata", "spec"}:
        assert judged({**valid, key: value})[0] is None
