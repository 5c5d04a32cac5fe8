"""The fixtures of the local suite."""

from tests.local.conftest import bare_machine, environments, machine, new_machine

__all__ = ["bare_machine", "environments", "machine", "new_machine"]
