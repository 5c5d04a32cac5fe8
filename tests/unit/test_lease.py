"""Host, boot, process and start time identify the holder of a Lease; a holder in doubt counts as alive."""

import os
import subprocess

import pytest
from hypothesis import given

from deployer.kube import lease

from .strategies import hostile


def identity_of(pid, start):
    host, _, process = lease._identity().partition(" ")
    boot, _, _ = process.partition(":")
    return f"{host} {boot}:{pid}:{start}"


def test_the_current_process_is_alive():
    assert lease._identity() == identity_of(os.getpid(), lease._start_of(os.getpid()))
    assert lease._start_of(os.getpid()) > 0
    assert not lease._dead_here(lease._identity())


def test_an_ended_process_is_dead_before_and_after_its_parent_has_waited():
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as child:
        holder = identity_of(child.pid, lease._start_of(child.pid))
        assert not lease._dead_here(holder)
        child.stdin.close()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # still a zombie
        assert lease._dead_here(holder)
    assert lease._dead_here(holder)


def test_a_process_with_another_start_time_is_another_process():
    assert lease._dead_here(identity_of(os.getpid(), lease._start_of(os.getpid()) - 1))


def test_a_process_of_another_boot_or_container_is_never_known_dead():
    host, _, process = identity_of(2**22 + 1, 5).partition(" ")
    boot, _, rest = process.partition(":")
    assert lease._dead_here(f"{host} {boot}:{rest}")
    assert not lease._dead_here(f"{host} x{boot}:{rest}")
    assert not lease._dead_here(f"{host} {boot.partition('/')[0]}/1:{rest}")


@pytest.mark.parametrize("holder", ["", " ", "host", "host :", "host ::", "host a:b:c", "host :1:1", "kubectl-anna"])
def test_a_holder_of_another_program_is_never_known_dead(holder):
    assert not lease._dead_here(holder)


@given(hostile)
def test_a_hostile_holder_is_never_known_dead(holder):
    assert not lease._dead_here(holder)
    assert not lease._dead_here(f"{lease._identity().partition(' ')[0]} {holder}")
