"""Coverage of the core is measured without the searches of hypothesis."""

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Measure coverage by the examples that people chose: being watched, the search takes three times as long."""
    for item in items:
        if getattr(getattr(item, "function", None), "is_hypothesis_test", False):
            item.add_marker("no_cover")
