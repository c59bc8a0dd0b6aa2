"""A test that fails leaves no process behind, which would fail another test later."""

import gc
import multiprocessing
import subprocess
import sys
import time

import pytest

from started import forked, started

FOR_EVER = [sys.executable, "-c", "import time; print('on', flush=True); time.sleep(600)"]


def test_a_process_is_gone_and_its_pipes_are_closed_though_the_test_fails():
    with (  # noqa: PT012
        pytest.raises(subprocess.TimeoutExpired),
        started(FOR_EVER, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process,
    ):
        assert process.stdout.readline() == "on\n"
        process.communicate(timeout=0.1)
    assert process.returncode == -9
    assert process.stdout.closed
    assert process.stderr.closed
    del process
    gc.collect()  # an unclosed pipe would warn, and warnings fail tests


def test_a_process_that_has_ended_keeps_its_exit_code():
    with started([sys.executable, "-c", "raise SystemExit(7)"]) as process:
        process.wait()
    assert process.returncode == 7


def test_a_forked_process_is_gone_though_the_test_fails():
    context = multiprocessing.get_context("fork")
    process = context.Process(target=time.sleep, args=(600,))
    with pytest.raises(AssertionError, match="the test"), forked(process):  # noqa: PT012
        assert process.is_alive()
        raise AssertionError("the test")
    assert process.exitcode == -9
