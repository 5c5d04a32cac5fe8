"""Compares manifests with the expected ones; DEPLOYER_REFRESH_GOLDEN=1 writes those anew, for a person to read.

A variable and not an option of pytest: plain `pytest` reads this folder's conftest.py after its options.
"""

import difflib
import os
import re
from pathlib import Path

import pytest
import yaml

from deployer.catalogue import PLUGINS, catalogue
from deployer.core.platform import PROFILES
from deployer.core.rendering import yaml_block

from .cases import CASES, EXPOSURES, drawn

EXPECTED = Path(__file__).parent / "expected"


def without_programs(text):
    """Return `text` with a placeholder for the source of each program, which changes more often than the manifests."""
    for name, source in catalogue().plugins.items():
        text = text.replace(yaml_block(source, 4), f"(the source of {name})")
    return re.sub(r'(files-hash"?: ")[0-9a-f]{64}"', r'\1(changes with them)"', text)


@pytest.mark.parametrize("case", CASES)
def test_the_manifests_are_the_expected_ones(case):
    actual = without_programs("---\n".join(drawn(case).values()))
    path = EXPECTED / f"{case}.yaml"
    if os.environ.get("DEPLOYER_REFRESH_GOLDEN") == "1":
        path.write_text(actual, "utf-8")
    expected = path.read_text("utf-8") if path.exists() else ""
    difference = difflib.unified_diff(
        expected.splitlines(), actual.splitlines(), f"expected/{case}.yaml", "drawn now", lineterm=""
    )
    if actual != expected:
        pytest.fail("\n".join(["DEPLOYER_REFRESH_GOLDEN=1 accepts this:", *difference]), pytrace=False)


def test_every_exposure_of_every_profile_has_an_expected_file_and_no_other_file_is_there():
    assert set(EXPOSURES) == {(name, exposure) for name, profile in PROFILES.items() for exposure in profile.exposures}
    assert {path.name for path in EXPECTED.iterdir()} == {f"{case}.yaml" for case in CASES}


@pytest.mark.parametrize("case", CASES)
def test_the_configmap_holds_the_launcher_byte_for_byte(case):
    (text,) = [text for key, text in drawn(case).items() if key.startswith("ConfigMap/")]
    assert yaml.safe_load(text)["data"]["launch.py"].encode() == (PLUGINS / "launch.py").read_bytes()
    assert "def main" not in without_programs(text)


@pytest.mark.parametrize("case", CASES)
def test_drawing_twice_gives_the_same_text_in_the_same_order(case):
    assert list(drawn(case).items()) == list(drawn(case).items())


@pytest.mark.parametrize("case", CASES)
def test_every_document_is_named_by_its_kind_and_name_and_comes_after_what_it_needs(case):
    documents = {key: yaml.safe_load(text) for key, text in drawn(case).items()}
    assert list(documents) == [f"{item['kind']}/{item['metadata']['name']}" for item in documents.values()]
    order = [key.partition("/")[0] for key in documents]
    for needed in {"ServiceAccount", "PersistentVolumeClaim", "NetworkPolicy", "ConfigMap"} & set(order):
        assert order.index(needed) < order.index("Deployment")
