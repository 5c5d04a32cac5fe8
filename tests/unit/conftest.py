"""How hypothesis searches: without a clock, since a loaded machine is not a slow program."""

from hypothesis import HealthCheck, settings

settings.register_profile("deployer", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("deployer")
