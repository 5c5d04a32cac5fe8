"""Compares manifests with the expected files; DEPLOYER_REFRESH_GOLDEN=1 rewrites these files, for review.

An environment variable, because plain `pytest` parses its options before it reads a conftest.py of this folder.
"""

import os
import re
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.catalogue import PLUGINS, catalogue
from deployer.core.file_formats import yaml_block
from deployer.core.spec.platform import PROFILES
from tests.support.manifest_cases import CASES, EXPOSURES, WHOLE, objects, profile_of, render, rendered

from .differences import Stale, difference, patched

EXPECTED = Path(__file__).parent / "expected"
ACCEPT = "DEPLOYER_REFRESH_GOLDEN=1 accepts the manifests as they are rendered now."
REFRESH = os.environ.get("DEPLOYER_REFRESH_GOLDEN") == "1"


def without_programs(text):
    """Return `text` with a placeholder for the source of each program, which changes more often than the manifests."""
    for name, source in catalogue().plugins.items():
        text = text.replace(yaml_block(source, 4), f"(the source of {name})")
    return re.sub(r'(files-hash"?: ")[0-9a-f]{64}"', r'\1(changes with them)"', text)


@cache
def rendered_now(case):
    return without_programs("---\n".join(rendered(case).values()))


def file(case):
    """Return the name of the file of a case: its manifests, or their difference from those of its profile."""
    return f"{case}.yaml" if case in WHOLE else f"{case}.diff"


def written(case, base):
    """Return the content of the file of a case, given the manifests of its profile."""
    return rendered_now(case) if case in WHOLE else difference(base, rendered_now(case), (file(profile_of(case)), case))


def stored(case):
    """Return the stored content of the file of a case, and the manifests that this content describes."""
    path = EXPECTED / file(case)
    content = path.read_text("utf-8") if path.exists() else ""
    return content, content if case in WHOLE else patched(stored(profile_of(case))[1], content)


@pytest.mark.parametrize("case", CASES)
def test_the_manifests_are_as_expected(case):
    if REFRESH:
        (EXPECTED / file(case)).write_text(written(case, rendered_now(profile_of(case))), "utf-8")
        return
    try:
        content, expected = stored(case)
    except Stale as error:
        pytest.fail(
            f"expected/{file(case)} does not fit {file(profile_of(case))}, whose {error}. {ACCEPT}", pytrace=False
        )
    if changed := difference(expected, rendered_now(case), (f"expected/{case}", "rendered now")):
        pytest.fail(f"{ACCEPT}\n{changed}", pytrace=False)
    assert content == written(case, stored(profile_of(case))[1]), f"not the diff of these manifests. {ACCEPT}"


def test_every_exposure_of_every_profile_has_an_expected_file_and_no_other_file_exists():
    assert set(EXPOSURES) == {(name, exposure) for name, profile in PROFILES.items() for exposure in profile.exposures}
    assert {path.name for path in EXPECTED.iterdir()} == {file(case) for case in CASES}


@given(*[st.lists(st.sampled_from(["a", "b", "- c", "+ d", "@@ -1 +1 @@", "kind: X", " ", ""]), max_size=40)] * 2)
def test_a_difference_holds_the_whole_text(before, after):
    base, text = ("".join(f"{line}\n" for line in lines) for lines in (before, after))
    assert patched(base, difference(base, text, ("base", "text"))) == text


def test_a_difference_from_another_text_is_noticed():
    diff = difference("a\nb\nc\n", "a\nB\nc\n", ("base", "text"))
    assert patched("a\nb\nc\n", diff) == "a\nB\nc\n"
    for other in ("a\nx\nc\n", "b\nc\n", "a\nb\n", ""):
        with pytest.raises(Stale):
            patched(other, diff)


@pytest.mark.parametrize("case", CASES)
def test_the_pod_gets_each_file_of_the_plugin_byte_for_byte_and_no_program_that_runs_elsewhere(case):
    items = objects(case)
    (files,) = [item["data"] for item in items if item["kind"] == "ConfigMap"]
    (pod,) = [item["spec"]["template"]["spec"] for item in items if item["kind"] == "Deployment"]
    (volume,) = [volume for volume in pod["volumes"] if volume["name"] == "files"]
    source = volume["configMap"] if "configMap" in volume else volume["projected"]["sources"][0]["configMap"]
    mounted = {item["path"]: files[item["key"]] for item in source["items"]}
    assert mounted == {**delivered(), "basic_auth.ini": files["basic_auth.ini"]}
    assert len(files) == len(mounted)
    assert "def main" not in rendered_now(case)


@cache
def delivered():
    """Return the files of the plugin's folder by path, whatever their suffix, without caches of tools."""
    paths = [path.relative_to(PLUGINS) for path in sorted(PLUGINS.rglob("*")) if path.is_file()]
    skipped = ("programs/", "__pycache__/", ".")
    kept = [path for path in paths if not path.as_posix().startswith(skipped) and "__pycache__" not in path.parts]
    return {path.as_posix(): (PLUGINS / path).read_text("utf-8") for path in kept}


@pytest.mark.parametrize("case", CASES)
def test_rendering_twice_gives_the_same_text_in_the_same_order(case):
    assert list(render(case).items()) == list(render(case).items())


@pytest.mark.parametrize("case", CASES)
def test_every_document_is_named_by_its_kind_and_name_and_follows_its_dependencies(case):
    documents = dict(zip(rendered(case), objects(case), strict=True))
    assert list(documents) == [f"{item['kind']}/{item['metadata']['name']}" for item in documents.values()]
    order = [key.partition("/")[0] for key in documents]
    for needed in {"ServiceAccount", "PersistentVolumeClaim", "NetworkPolicy", "ConfigMap"} & set(order):
        assert order.index(needed) < order.index("Deployment")
