import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.catalogue import CONSTRAINTS
from deployer.core.spec.versions import DEFAULT_MLFLOW, SUPPORTED_MINORS, constraints_file, unsupported_reason
from deployer.plugin import seams

from .strategies import hostile


def test_the_default_version_is_supported():
    assert unsupported_reason(DEFAULT_MLFLOW) is None


def test_the_plugin_supports_exactly_the_minor_versions_of_this_release():
    assert seams.SUPPORTED_MINORS == SUPPORTED_MINORS
    known = ["3.17.2", "3.18.0", "3.18.0rc1", "3.16.0", "3.19.0", "13.17.0", "3.170.0", "4.17.0", "3", "unknown"]
    assert [version for version in known if seams.supports(version)] == ["3.17.2", "3.18.0", "3.18.0rc1"]


@pytest.mark.parametrize("minor", SUPPORTED_MINORS)
def test_every_supported_minor_has_a_complete_list_of_tested_packages(minor):
    lines = (CONSTRAINTS / constraints_file(f"{minor[0]}.{minor[1]}.0")).read_text().splitlines()
    assert all(re.fullmatch(r"#.*|[a-z0-9._-]+==[a-z0-9.]+( ; .+)?", line) for line in lines)
    assert {"boto3", "fastapi", "flask", "psycopg2-binary", "sqlalchemy", "uvicorn"} <= {
        line.partition("==")[0] for line in lines
    }


@given(st.sampled_from(SUPPORTED_MINORS), st.integers(0, 9999))
def test_every_patch_release_of_a_supported_minor_is_accepted(minor, patch):
    assert unsupported_reason(f"{minor[0]}.{minor[1]}.{patch}") is None


@pytest.mark.parametrize("version", ["2.22.0", "3.16.9", "3.19.0", "4.17.2", "0.0.0", "9999.9999.9999"])
def test_an_unsupported_minor_is_refused_and_the_supported_minors_are_named(version):
    reason = unsupported_reason(version)
    assert version in reason
    assert "3.17.x, 3.18.x" in reason


@pytest.mark.parametrize(
    "version",
    ["", "3", "3.17", "3.17.2.1", "3.17.2rc1", "v3.17.2", "3.17.2 ", " 3.17.2", "3.17.2\n", "3.17.x", "latest",
     "-3.17.2", "3..2", "3.17.12345"],
)  # fmt: skip
def test_a_text_that_is_no_release_number_is_refused(version):
    assert "is not a version like" in unsupported_reason(version)


@pytest.mark.parametrize("version", ["3.17.\uff12", "\u0663.17.2", "3.1\u0667.2", "3.17.02", "03.17.2", "3.0017.2"])
def test_a_number_that_pip_or_a_registry_would_spell_differently_is_refused(version):
    assert unsupported_reason(version) is not None


@given(hostile)
def test_only_plain_ascii_numbers_are_accepted(version):
    if unsupported_reason(version) is None:
        assert version.isascii()
        assert all(part.isdigit() for part in version.split("."))
