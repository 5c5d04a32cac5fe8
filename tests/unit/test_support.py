import pytest
from hypothesis import given

from deployer.cli.remedies import words
from deployer.core.errors import InvalidSpec
from deployer.core.spec import document
from deployer.core.spec.platform import KIND, KUBERNETES, LOCAL, RAHTI
from deployer.core.spec.schema import Spec
from deployer.core.spec.support import require_supported

from .strategies import HEADER, specs

PLATFORMS = (LOCAL, KUBERNETES, KIND, RAHTI)


def spec(**parts):
    return document.validate({**HEADER, "spec": parts}, "file")


@pytest.mark.parametrize("platform", PLATFORMS, ids=lambda platform: platform.name)
def test_the_default_spec_is_supported_everywhere(platform):
    assert require_supported(Spec(), platform, "file") is None


@pytest.mark.parametrize(
    ("platform", "exposure"),
    [(platform, exposure) for platform in PLATFORMS for exposure in platform.exposures],
    ids=lambda value: getattr(value, "name", value),
)
def test_every_exposure_that_a_platform_offers_is_supported(platform, exposure):
    fields = {"gateway": "a/b"} if exposure == "gateway" else {}
    assert require_supported(spec(exposure={"type": exposure, **fields}), platform, "file") is None


@pytest.mark.parametrize(
    ("platform", "parts", "problem"),
    [
        (
            LOCAL,
            {"database": {"type": "postgres"}},
            "spec.database.type: postgres is not available in this release; use sqlite or external",
        ),
        (LOCAL, {"artifacts": {"type": "objectstore"}}, "spec.artifacts.type: objectstore is not available"),
        (
            LOCAL,
            {"pod": {"trustedCa": {"configMap": "a"}}},
            "spec.pod.trustedCa: is for clusters",
        ),
        (
            KUBERNETES,
            {"artifacts": {"type": "objectstore"}, "exposure": {"type": "ingress"}},
            "spec.artifacts.type: objectstore is not available",
        ),
        (LOCAL, {"exposure": {"type": "ingress"}}, "spec.exposure.type: local has no ingress; use none"),
        (KUBERNETES, {"exposure": {"type": "route"}}, "kubernetes has no route; use ingress or gateway or none"),
        (KIND, {"exposure": {"type": "route"}}, "kind has no route; use none or ingress or gateway"),
        (LOCAL, {"exposure": {"type": "gateway", "gateway": "a/b"}}, "local has no gateway; use none"),
        (RAHTI, {"exposure": {"type": "ingress"}}, "rahti has no ingress; use route or none"),
        (RAHTI, {"exposure": {"type": "gateway", "gateway": "a/b"}}, "rahti has no gateway; use route or none"),
    ],
)
def test_an_unsupported_field_is_refused_in_a_plain_sentence(platform, parts, problem):
    with pytest.raises(InvalidSpec) as refusal:
        require_supported(spec(**parts), platform, "file")
    assert len(refusal.value.problems) == 1
    assert problem in str(refusal.value)
    assert refusal.value.hint


@pytest.mark.parametrize("platform", PLATFORMS, ids=lambda platform: platform.name)
def test_the_recommended_exposures_are_those_of_the_platform(platform):
    lacking = "route" if "gateway" in platform.exposures else "gateway"
    fields = {"gateway": "a/b"} if lacking == "gateway" else {}
    with pytest.raises(InvalidSpec) as refusal:
        require_supported(spec(exposure={"type": lacking, **fields}), platform, "file")
    assert str(refusal.value).rpartition("use ")[2].split(" or ") == list(platform.exposures)


def test_all_unsupported_fields_are_named_at_once():
    wanted = spec(database={"type": "postgres"}, artifacts={"type": "objectstore"}, exposure={"type": "route"})
    with pytest.raises(InvalidSpec) as refusal:
        require_supported(wanted, KUBERNETES, "file")
    assert [problem.path for problem in refusal.value.problems] == [
        "spec.database.type",
        "spec.artifacts.type",
        "spec.exposure.type",
    ]


@given(specs())
def test_a_spec_is_accepted_exactly_if_this_release_supports_it(one):
    for platform in PLATFORMS:
        supported = (
            one.spec.database.type in ("sqlite", "external")
            and one.spec.artifacts.type in ("volume", "s3")
            and (one.spec.exposure is None or one.spec.exposure.type in platform.exposures)
            and (platform.allow_lists or not getattr(one.spec.exposure, "allow_from", None))
            and (platform.pods or not one.spec.pod.trusted_ca)
        )
        try:
            require_supported(one, platform, "file")
        except InvalidSpec:
            assert not supported
        else:
            assert supported


@pytest.mark.parametrize(
    ("platform", "exposure", "flags"),
    [
        (KUBERNETES, {"type": "route"}, "add --expose ingress --host HOST;"),
        (KUBERNETES, {"type": "route", "host": "a.example.org"}, "add --expose ingress;"),
        (KUBERNETES, {"type": "route", "allowFrom": ["roihu"]}, "add --expose ingress --host HOST --allow-everyone;"),
        (KIND, {"type": "route"}, "add --expose none;"),
        (RAHTI, {"type": "ingress", "host": "a.example.org"}, "add --expose route;"),
    ],
)
def test_the_hint_names_the_flags_for_another_exposure(platform, exposure, flags):
    with pytest.raises(InvalidSpec) as refusal:
        require_supported(spec(exposure=exposure), platform, "the stored spec with these flags")
    assert words(refusal.value.hint).startswith(flags)
