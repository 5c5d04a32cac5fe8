"""Image references and mirrors of registries, by the grammar of distribution/reference."""

import pytest

from deployer.core.errors import InvalidSpec
from deployer.core.spec import document
from deployer.core.spec.images import MAX_NAME, image_problem, mirror_problem
from deployer.core.stack.record import Record, record_from

from .strategies import HEADER

SHA = f"sha256:{'0a' * 32}"


@pytest.mark.parametrize(
    "image",
    [
        *("mlflow", "mlflow:v1", "mlflow/mlflow", "ghcr.io/mlflow/mlflow:v3.17.2-full", "a__b/c-d.e--f:_1"),
        *(
            "localhost/a",
            "localhost:5000/a",
            "registry:5000/a/b:c",
            "10.0.0.1:5000/a",
            "[fd00::1]:5000/a:b",
            "Reg.io/a",
        ),
        *(
            f"a@{SHA}",
            f"ghcr.io/a/b:c@{SHA}",
            f"a@sha512:{'0' * 128}",
            f"a:{'x' * 128}",
            f"r.io/{'a' * (MAX_NAME - 5)}",
        ),
    ],
)
def test_a_valid_reference_is_accepted(image):
    assert image_problem(image) is None


@pytest.mark.parametrize(
    ("image", "words"),
    [
        *(
            (text, "such as ghcr.io/mlflow/mlflow")
            for text in ("", "a:", ":a", "/a", "a/", "a//b", "a b", "a:b:c", "a@b@c")
        ),
        *(
            (text, "such as ghcr.io/mlflow/mlflow")
            for text in ("_a", "a_", "a..b", "a___b", "é", "a:é", "-a.io/b", "0" * 64)
        ),
        *((text, "such as ghcr.io/mlflow/mlflow") for text in (f"a:{'x' * 129}", "a:-b", "a\n")),
        ("https://ghcr.io/a", "no scheme"),
        ("docker://a", "no scheme"),
        ("ghcr.io/MLflow/mlflow", "lower-case letters only"),
        *((f"a@{text}", "has a wrong digest") for text in ("", "sha256:0", f"sha256:{'0' * 63}", f"sha256:{'A' * 64}")),
        ("user:password@r.io/a", "has a wrong digest"),
        (f"r.io/{'a' * MAX_NAME}", "has 260 characters"),
    ],
)
def test_an_invalid_reference_is_refused_and_not_quoted(image, words):
    problem = image_problem(image)
    assert words in problem
    assert "password" not in problem


@pytest.mark.parametrize(
    ("prefix", "mirror"),
    [
        *(("ghcr.io", "mirror:5000/ghcr"), ("ghcr.io/", "a/"), ("registry:5000", "m.org"), ("docker.io", "m.org:5000")),
        *(("ghcr.io/mlflow", "m.org/a/b"), ("ghcr.io/a:v1", "m.org/a:v2"), (f"ghcr.io/a@{SHA}", f"m.org/a@{SHA}")),
    ],
)
def test_a_valid_mirror_is_accepted(prefix, mirror):
    assert mirror_problem(prefix, mirror) is None


@pytest.mark.parametrize(
    ("prefix", "mirror", "words"),
    [
        ("https://ghcr.io", "m.org", "the prefix must be a registry"),
        ("ghcr.io", "https://m.org", "the mirror must be a registry"),
        ("ghcr.io", "m.org//", "the mirror must be a registry"),
        ("/", "m.org", "the prefix must be a registry"),
        ("ghcr.io", "m.org/A", "the mirror must be a registry"),
        ("ghcr.io/a", "m.org/a:v1", "has a tag or digest and the prefix has none"),
        ("ghcr.io/a", f"m.org/a@{SHA}", "has a tag or digest and the prefix has none"),
        ("ghcr.io/a@sha256:1", "m.org/a", "the prefix has a wrong digest"),
    ],
)
def test_an_invalid_mirror_is_refused(prefix, mirror, words):
    assert words in mirror_problem(prefix, mirror)


OLD = [
    ("mlflow", {"image": "no-image!"}),
    ("proxy", {"http": "http://a:1", "noProxy": "a b"}),
    ("pod", {"imageMirrors": {"x://": "y"}}),
]


@pytest.mark.parametrize(("part", "fields"), OLD)
def test_a_record_of_an_earlier_release_with_an_invalid_image_is_still_read(part, fields):
    data = {**Record(document.validate(HEADER, "file")).document(), "spec": {**HEADER, "spec": {part: fields}}}
    stored = record_from(data, "record").spec
    assert stored.document()["spec"][part].items() >= fields.items()
    with pytest.raises(InvalidSpec):
        document.validate({**HEADER, "spec": {part: fields}}, "file")
