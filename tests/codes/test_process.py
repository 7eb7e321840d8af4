"""One process group per job, and nothing of it left behind."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from custodian.custodian import NonRecoverableError

from alpw.codes.handlers import CrashHandler, DeadlineHandler
from alpw.codes.process import TERMINATED, ProcessJob, run_custodian, split_command
from alpw.errors import InputError

# Ignores SIGTERM, as does its child: only SIGKILL to the whole group ends them.
STUBBORN = ["sh", "-c", "trap '' TERM; sleep 600 & echo ready; while :; do sleep 0.1; done"]


def wait_until(condition, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


class NeverFinished(CrashHandler):
    def finished(self, directory):
        return False


def test_command_words_fill_in_variables_of_the_environment(monkeypatch):
    monkeypatch.setenv("SLURM_NTASKS", "4")
    assert split_command("mpirun -np $SLURM_NTASKS 'my cp2k'") == ["mpirun", "-np", "4", "my cp2k"]


@pytest.mark.parametrize("command", ["", "mpirun -np $NO_SUCH_VARIABLE_SET cp2k", "cp2k > dft.log", "a && b"])
def test_command_that_no_exec_could_run_is_an_input_error(command):
    with pytest.raises(InputError, match="command"):
        split_command(command)


def test_missing_program_is_an_input_error_that_names_it(tmp_path):
    with pytest.raises(InputError, match="no-such-program"):
        ProcessJob(["no-such-program"]).run(tmp_path)


def test_one_thread_unless_the_user_says_otherwise(tmp_path, monkeypatch):
    script = ["sh", "-c", "echo $OMP_NUM_THREADS $EXTRA"]
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    run_custodian(ProcessJob(script), tmp_path)
    assert (tmp_path / "job.out").read_text().split() == ["1"]
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    run_custodian(ProcessJob(script, environment={"EXTRA": "more"}), tmp_path)
    assert (tmp_path / "job.out").read_text().split() == ["3", "more"]


def test_outputs_of_the_attempt_before_are_gone_when_the_program_starts(tmp_path):
    class Job(ProcessJob):
        stale = ("result*",)

    (tmp_path / "result-1").write_text("old")
    (tmp_path / "input").write_text("kept")
    run_custodian(Job(["ls"]), tmp_path)
    seen = (tmp_path / "job.out").read_text().split()
    assert "input" in seen and "result-1" not in seen


def test_working_directory_of_this_process_does_not_change_while_jobs_run_in_threads(tmp_path):
    before = Path.cwd()
    folders = [tmp_path / name for name in "ab"]
    seen = []
    for folder in folders:
        folder.mkdir()
    threads = [
        threading.Thread(target=run_custodian, args=(ProcessJob(["sh", "-c", "sleep 0.3; pwd"]), folder))
        for folder in folders
    ]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        seen.append(Path.cwd())
        time.sleep(0.02)
    assert set(seen) == {before}
    assert [Path((folder / "job.out").read_text().strip()) for folder in folders] == folders


def test_terminate_ends_the_whole_group_even_if_it_ignores_sigterm(tmp_path, members_of):
    job = ProcessJob(STUBBORN, kill_wait=0.5)
    job.run(tmp_path)
    wait_until(lambda: "ready" in (tmp_path / "job.out").read_text())
    assert len(members_of(job.pid)) >= 2
    job.terminate(tmp_path)
    wait_until(lambda: not members_of(job.pid))
    assert job.returncode == -9
    assert TERMINATED in (tmp_path / "job.err").read_text()


def test_children_that_outlive_a_finished_program_are_ended(tmp_path, members_of):
    job = ProcessJob(["sh", "-c", "sleep 600 & exit 0"])
    run_custodian(job, tmp_path)
    wait_until(lambda: not members_of(job.pid))


def test_deadline_stops_the_job_for_good(tmp_path, members_of):
    job = ProcessJob(STUBBORN, kill_wait=0.2)
    with pytest.raises(NonRecoverableError, match="DeadlineHandler"):
        run_custodian(job, tmp_path, [DeadlineHandler(0.5), NeverFinished()])
    wait_until(lambda: not members_of(job.pid))


def test_program_dies_with_a_worker_that_is_killed_without_warning(tmp_path, members_of):
    worker = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, time; from alpw.codes.process import ProcessJob\n"
            f"job = ProcessJob({STUBBORN!r}, kill_wait=0.5)\n"
            f"print(job.run({str(tmp_path)!r}).pid, flush=True)\n"
            "time.sleep(600)",
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    group = int(worker.stdout.readline())
    wait_until(lambda: len(members_of(group)) >= 2)
    worker.kill()
    worker.wait()
    wait_until(lambda: not members_of(group))
    worker.stdout.close()


def test_guard_leaves_with_the_job(tmp_path):
    def guards():
        children = ["ps", "-o", "pid=,args=", "--ppid", str(os.getpid())]
        listing = subprocess.run(children, capture_output=True, text=True, check=False)
        return [line for line in listing.stdout.splitlines() if "read -r word" in line]

    before = guards()
    run_custodian(ProcessJob(["true"]), tmp_path)
    assert guards() == before


def test_crash_is_run_again_at_most_twice(tmp_path):
    job = ProcessJob(["sh", "-c", "echo x >> attempts; kill -9 $$"])
    with pytest.raises(NonRecoverableError, match="NeverFinished"):
        run_custodian(job, tmp_path, [NeverFinished()])
    assert (tmp_path / "attempts").read_text().split() == ["x"] * 3
    assert job.returncode == -9
