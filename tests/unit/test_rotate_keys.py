"""Which keys of a server can be exchanged, and which cannot."""

import pytest

from deployer.core.errors import UsageError
from deployer.operations.rotate_keys import require_rotatable


def test_the_keys_of_a_bucket_can_be_exchanged():
    require_rotatable("s3")


@pytest.mark.parametrize(
    ("kind", "why"),
    [("kek", "could not be read any more"), ("webhook", "could not be read any more"), ("flask", "signs the cookie")],
)
def test_keys_that_stay_are_refused_with_the_reason(kind, why):
    with pytest.raises(UsageError, match=why) as refused:
        require_rotatable(kind)
    assert refused.value.exit_code == 2


@pytest.mark.parametrize("kind", ["", "S3", "password", "s3 "])
def test_anything_else_is_no_kind_of_key(kind):
    with pytest.raises(UsageError, match="known are s3, kek, webhook, flask"):
        require_rotatable(kind)
