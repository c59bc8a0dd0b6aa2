"""Sweeps as a user starts them: real processes, tiny runs, in a folder whose name is not plain."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from massmatch.cli import app

TRAINING = ("--width", 2, "--scheme", "split", "--precision", "float32", "--memory", "contiguous", "--threads", 1)


def command(*arguments):
    return [sys.executable, "-m", "massmatch", *map(str, arguments)]


def massmatch(*arguments, closed_stdin=False):
    line = ["sh", "-c", 'exec "$@" <&-', "sh"] if closed_stdin else []
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run([*line, *command(*arguments)], capture_output=True, text=True, env=environment)


def asked(*arguments):
    """The same within this process, for what only has to be right."""
    result = CliRunner().invoke(app, list(map(str, arguments)), env={"COLUMNS": "200"})
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def workers_at(folder):
    """Processes of runs whose LOCK or log lies below a folder, by their open files."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            links = [str(link.readlink()) for link in (process / "fd").iterdir()]
        except OSError:
            continue
        if any(link.startswith(f"{folder}/") and link.endswith("log.txt") for link in links):
            found.append(int(process.name))
    return found


@pytest.fixture(scope="session")
def odd(cohort, tmp_path_factory):
    """A folder with blanks, brackets and an umlaut in its name, with the cohort in it."""
    folder = tmp_path_factory.mktemp("sweep") / "Brüste [1] neu"
    shutil.copytree(cohort.root, folder / "tiny cohort")
    return folder
