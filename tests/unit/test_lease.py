"""Who holds a Lease is told apart by host, boot, process and start time; nobody is taken for dead by guesswork."""

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


def test_this_very_process_is_alive():
    assert lease._identity() == identity_of(os.getpid(), lease._start_of(os.getpid()))
    assert lease._start_of(os.getpid()) > 0
    assert not lease._dead_here(lease._identity())


def test_a_process_that_has_ended_is_dead_before_and_after_its_parent_has_looked():
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as child:
        holder = identity_of(child.pid, lease._start_of(child.pid))
        assert not lease._dead_here(holder)
        child.stdin.close()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # still a zombie
        assert lease._dead_here(holder)
    assert lease._dead_here(holder)


def test_a_process_that_began_at_another_time_is_another_one():
    assert lease._dead_here(identity_of(os.getpid(), lease._start_of(os.getpid()) - 1))


def test_of_another_machine_boot_or_container_nothing_is_known():
    host, _, process = identity_of(2**22 + 1, 5).partition(" ")
    boot, _, rest = process.partition(":")
    assert lease._dead_here(f"{host} {boot}:{rest}")
    assert not lease._dead_here(f"{host} x{boot}:{rest}")
    assert not lease._dead_here(f"{host} {boot.partition('/')[0]}/1:{rest}")


@pytest.mark.parametrize("holder", ["", " ", "host", "host :", "host ::", "host a:b:c", "host :1:1", "kubectl-anna"])
def test_a_holder_of_another_program_is_never_known_dead(holder):
    assert not lease._dead_here(holder)


@given(hostile)
def test_any_holder_may_stand_there(holder):
    assert not lease._dead_here(holder)
    assert not lease._dead_here(f"{lease._identity().partition(' ')[0]} {holder}")
