"""Process identities: alive, dead, reused, elsewhere."""

import os
import signal
import socket
import subprocess
import sys
import time

import psutil
import pytest

from alpw.database.owner import is_dead, process_identity


@pytest.fixture
def child():
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield process
    process.kill()
    process.wait()


def test_an_identity_is_host_pid_and_start():
    host, pid, started = process_identity().rsplit("/", 2)
    assert host == socket.gethostname() and int(pid) == os.getpid()
    # Whole seconds: the start time comes from the kernel's clock ticks.
    assert abs(int(started) - psutil.Process().create_time()) <= 1


def test_this_process_is_alive():
    assert not is_dead(process_identity())


def test_a_process_is_dead_after_it_was_killed(child):
    identity = process_identity(child.pid)
    assert not is_dead(identity)
    child.kill()
    child.wait()
    assert is_dead(identity)


def test_a_killed_process_that_nobody_has_waited_for_is_dead(child):
    identity = process_identity(child.pid)
    os.kill(child.pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while psutil.Process(child.pid).status() != psutil.STATUS_ZOMBIE and time.monotonic() < deadline:
        time.sleep(0.01)
    assert psutil.Process(child.pid).status() == psutil.STATUS_ZOMBIE
    assert is_dead(identity)


def test_a_stopped_process_is_alive(child):
    identity = process_identity(child.pid)
    os.kill(child.pid, signal.SIGSTOP)
    assert not is_dead(identity)


def test_a_pid_that_another_process_has_taken_over_is_dead(child):
    host, pid, started = process_identity(child.pid).rsplit("/", 2)
    assert is_dead(f"{host}/{pid}/{int(started) - 100}")


def test_a_process_on_another_host_cannot_be_seen_and_counts_as_alive():
    assert not is_dead("another-host/1/1")
