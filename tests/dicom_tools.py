"""Tools that know DICOM better than we do: dciodvfy (dicom3tools), the archive Orthanc, and dcmqi's reader of SEG."""

import gzip
import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

ORTHANC = Path("/usr/sbin/Orthanc")
DICOMWEB = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
BOUNDARY = "massmatch-tests"

needs_dciodvfy = pytest.mark.skipif(
    shutil.which("dciodvfy") is None, reason="dciodvfy is not installed: Debian's package dicom3tools"
)
needs_dcmqi = pytest.mark.skipif(
    shutil.which("segimage2itkimage") is None, reason="segimage2itkimage is not installed: pip install dcmqi"
)
needs_orthanc = pytest.mark.skipif(
    not (ORTHANC.is_file() and DICOMWEB.exists()),
    reason="Orthanc is not installed: Debian's packages orthanc and orthanc-dicomweb",
)


def complaints(path):
    """The errors and warnings of dciodvfy on a file; not those of what only a DICOMDIR would need."""
    done = subprocess.run(["dciodvfy", "-new", str(path)], capture_output=True, text=True)
    lines = [line for line in done.stderr.splitlines() if line.startswith(("Error", "Warning"))]
    return [line for line in lines if "needed to build DICOMDIR" not in line]


def by_dcmqi(path, folder):
    """(segments, H, W) bool of a SEG as segimage2itkimage reads it, which is 3D Slicer's loader; and their spacings."""
    folder.mkdir()
    command = ["segimage2itkimage", "--inputDICOM", path, "--outputDirectory", folder, "--outputType", "nrrd"]
    subprocess.run(command, check=True, capture_output=True)
    planes, found = [], []
    for file in sorted(folder.glob("*.nrrd"), key=lambda each: int(each.stem)):
        head, data = file.read_bytes().split(b"\n\n", 1)
        fields = dict(line.split(": ", 1) for line in head.decode().splitlines() if ": " in line)
        columns, rows, _ = map(int, fields["sizes"].split())
        planes.append(np.frombuffer(gzip.decompress(data), "<i2").reshape(rows, columns) > 0)
        first, second, _ = (axis.strip("()").split(",") for axis in fields["space directions"].split())
        found.append((float(second[1]), float(first[0])))
    return np.array(planes), found


def _free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@contextmanager
def orthanc(folder):
    """The address of DICOMweb of an archive on loopback, which is gone afterwards."""
    port, log = _free_port(), folder / "orthanc.log"
    settings = {
        "StorageDirectory": str(folder / "store"),
        "IndexDirectory": str(folder / "store"),
        "HttpPort": port,
        "DicomServerEnabled": False,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "Plugins": [os.path.realpath(DICOMWEB)],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }
    (folder / "orthanc.json").write_text(json.dumps(settings))
    with log.open("wb") as out:
        process = subprocess.Popen([ORTHANC, folder / "orthanc.json"], stdout=out, stderr=subprocess.STDOUT)
    try:
        _wait(f"http://127.0.0.1:{port}/system", process, log)
        yield f"http://127.0.0.1:{port}/dicom-web"
    finally:
        process.terminate()
        process.wait(30)


def _wait(address, process, log):
    for _ in range(300):
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except (urllib.error.URLError, ConnectionError):
            assert process.poll() is None, log.read_text()
            time.sleep(0.1)
    raise AssertionError(log.read_text())


def store(address, files):
    """STOW-RS: the answer to all files in one request."""
    parts = [
        f"--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode() + f.read_bytes() + b"\r\n" for f in files
    ]
    kind = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'
    request = urllib.request.Request(f"{address}/studies", b"".join(parts) + f"--{BOUNDARY}--".encode())
    request.add_header("Content-Type", kind)
    request.add_header("Accept", "application/dicom+json")
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def retrieve(address, study, series, instance):
    """WADO-RS: the bytes of one instance."""
    request = urllib.request.Request(f"{address}/studies/{study}/series/{series}/instances/{instance}")
    request.add_header("Accept", 'multipart/related; type="application/dicom"')
    with urllib.request.urlopen(request, timeout=60) as answer:
        boundary = answer.headers.get_boundary().encode()
        body = answer.read()
    part = body.split(b"--" + boundary)[1]
    return part.split(b"\r\n\r\n", 1)[1].removesuffix(b"\r\n")
