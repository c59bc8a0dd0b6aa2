"""Processes that tests start: none outlives its test, however that ends."""

import subprocess
from contextlib import contextmanager

PATIENCE = 180  # seconds; it guards against hanging alone, and a loaded machine is slow


@contextmanager
def started(*arguments, **options):
    """A `subprocess.Popen`, killed at the end if it still runs; its pipes are closed."""
    with subprocess.Popen(*arguments, **options) as process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def forked(process):
    """A `multiprocessing.Process`, started, and killed at the end if it still runs."""
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()
