"""Row 59: whoever reads may stop, there may be no terminal, and no colours wanted."""

import os
import pty
import subprocess
import sys

import pytest


def massmatch(*arguments, stdout, **environment):
    line = [sys.executable, "-m", "massmatch", *map(str, arguments)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TERM": "xterm", **environment}
    return subprocess.run(line, stdout=stdout, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, env=environment)


@pytest.mark.long
@pytest.mark.parametrize(
    "arguments",
    [("losses",), ("predict", "{images}", "--run", "{run}", "--out", "{tmp}/out"), ("status", "{runs}", "--json")],
)
def test_row_59_a_command_whose_reader_has_gone_ends_quietly(arguments, trained, cohort, tmp_path):
    known = {"run": trained, "images": cohort.root / "images", "tmp": tmp_path, "runs": trained.parent.parent}
    reader, writer = os.pipe()
    os.close(reader)
    done = massmatch(*(each.format(**known) for each in arguments), stdout=writer)
    os.close(writer)
    assert done.returncode == 141
    assert done.stderr == b""


@pytest.mark.long
@pytest.mark.parametrize(("wanted", "colours"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_row_59_no_color_is_heeded_on_a_terminal(wanted, colours, trained):
    reader, terminal = pty.openpty()
    done = massmatch("status", trained.parent.parent, stdout=terminal, **wanted)
    os.close(terminal)
    said = os.read(reader, 65536)
    os.close(reader)
    assert done.returncode == 0
    assert b"done" in said
    assert (b"\x1b[32m" in said) is colours
