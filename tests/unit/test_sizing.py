import pytest

from deployer.core.spec.fields import in_bytes
from deployer.core.stack import sizing


def test_a_size_is_read_as_bytes():
    assert [in_bytes(size) for size in ("1Mi", "32Mi", "3Gi", "1Ti")] == [1 << 20, 32 << 20, 3 << 30, 1 << 40]


@pytest.mark.parametrize("threads", [4, 11, 40])
def test_requests_cannot_wait_for_one_another_for_ever(threads):
    pool = sizing.pool(threads)
    assert pool.size > 0
    assert pool.overflow > 0
    assert pool.size + pool.overflow > threads * 3  # of the four nested connections that a request may open


def test_workers_share_the_default_number_of_postgresql_connections():
    assert sizing.threads(3, shared=False) == 40
    found = {workers: sizing.threads(workers, shared=True) for workers in range(1, 9)}
    assert found == {1: 26, 2: 11, 3: 6, 4: 4, 5: 4, 6: 4, 7: 4, 8: 4}
    assert [sizing.connections(workers) for workers in range(1, 9)] == [90, 90, 90, 96, 120, 144, 168, 192]


def test_memory_holds_the_server_and_every_concurrent_cold_login():
    measured_at_eight_cold_logins = 640
    resources = sizing.server_resources()
    assert resources.memory_request >= 254 + 8 * 32
    assert resources.memory_limit > measured_at_eight_cold_logins


@pytest.mark.parametrize("workers", [1, 2, 16])
def test_limits_stay_below_five_times_the_requests(workers):
    resources = sizing.server_resources(workers)
    assert resources.cpu_request <= resources.cpu_limit < 5 * resources.cpu_request
    assert resources.memory_request <= resources.memory_limit < 5 * resources.memory_request


def test_each_further_worker_adds_memory_and_a_core():
    one, two, three = (sizing.server_resources(workers) for workers in (1, 2, 3))
    assert two.memory_request - one.memory_request == three.memory_request - two.memory_request >= 150
    assert (two.cpu_limit, three.cpu_limit) == (2 * one.cpu_limit, 3 * one.cpu_limit)
