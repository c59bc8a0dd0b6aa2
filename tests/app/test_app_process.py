"""The command itself: it answers on loopback, ends at a signal, and leaves no image behind."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

from bright import marked
from mammograms import write_dicom


def started(folder, *options):
    """A process of `massmatch app` whose temporary files lie in the folder, and its address."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    command = [sys.executable, "-m", "massmatch", "app", "--port", str(port), *map(str, options)]
    environment = os.environ | {"TMPDIR": str(folder)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    process = subprocess.Popen(command, env=environment, **pipes)
    address = f"http://127.0.0.1:{port}"
    for _ in range(600):
        try:
            urllib.request.urlopen(f"{address}/read", timeout=5).close()
            return process, address
        except (urllib.error.URLError, ConnectionError):
            assert process.poll() is None, process.stdout.read()
            time.sleep(0.1)
    process.kill()
    raise AssertionError(process.communicate()[0])


@pytest.mark.long  # whole processes
@pytest.mark.parametrize(("name", "code"), [("SIGINT", 0), ("SIGTERM", -signal.SIGTERM)])
def test_it_ends_at_a_signal_and_leaves_no_image_behind(name, code, weights, tmp_path):
    (tmp_path / "temporary").mkdir()
    image = write_dicom(tmp_path / "SENTINEL_Jane.dcm", marked("left")[0])
    process, address = started(tmp_path / "temporary", "--weights", weights)
    ask = urllib.request.Request(f"{address}/api/images?name=SENTINEL_Jane.dcm", image.read_bytes())
    with urllib.request.urlopen(ask, timeout=60) as answer:
        assert answer.status == 200
    assert any((tmp_path / "temporary").rglob("*.dcm"))
    process.send_signal(getattr(signal, name))
    said, _ = process.communicate(timeout=60)
    assert process.returncode == code
    assert not any((tmp_path / "temporary").rglob("*.dcm"))
    assert "Traceback" not in said
    assert "SENTINEL" not in said
