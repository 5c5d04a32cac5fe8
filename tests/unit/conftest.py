"""How hypothesis searches: without a clock, since a loaded machine is not a slow program."""

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("deployer", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("deployer")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Measure coverage by the examples that people chose: being watched, the search takes three times as long."""
    for item in items:
        if getattr(getattr(item, "function", None), "is_hypothesis_test", False):
            item.add_marker("no_cover")
