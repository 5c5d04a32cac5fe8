"""Profiles of hypothesis: `quick` by default, `thorough` with --hypothesis-profile thorough (`make test`).

The profiles have no deadline, because a busy machine makes a correct program slow.
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings

EXAMPLES = {"quick": 20, "thorough": 100}


def register() -> None:
    """Register both profiles and load `quick`; call this before pytest reads --hypothesis-profile."""
    for name, most in EXAMPLES.items():
        settings.register_profile(
            name,
            max_examples=most,
            deadline=None,
            print_blob=True,
            suppress_health_check=[HealthCheck.too_slow],
        )
    settings.load_profile("quick")


def examples(factor: float) -> settings:
    """Return settings for a test with `factor` times as many examples as the profile."""
    return settings(max_examples=round(settings().max_examples * factor))
