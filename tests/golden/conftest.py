"""How hypothesis searches is the same as for the unit tests, also where this folder runs alone."""

import tests.unit.conftest  # noqa: F401
