"""Rows 51 to 53: what names a patient stays in the header, whatever is run and whatever breaks."""

import os
import re
import subprocess
import sys

import pydicom
import pytest

from massmatch.data import DataError
from massmatch.data.dicom import read_dicom
from twins import cbis_ddsm, inbreast

SENTINELS = ("SENTINEL", "19500101")


IN_TURN = """
import sys
from massmatch.cli import main
for line in sys.argv[1].splitlines():
    sys.argv[1:] = line.split("\t")
    try:
        main()
        code = 0
    except SystemExit as end:
        code = end.code or 0
    print(f"ended with {code}")
"""


def massmatch(*commands):
    """Commands, each with its exit code, in a real process as loud as Python can be; all that it said."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "200", "PYTHONWARNINGS": "default"}
    lines = "\n".join("\t".join(map(str, arguments)) for arguments, _ in commands)
    line = [sys.executable, "-X", "dev", "-c", IN_TURN, lines]
    done = subprocess.run(line, capture_output=True, text=True, env=environment)
    said = done.stdout + done.stderr
    assert re.findall(r"^ended with (\d+)$", done.stdout, re.M) == [str(code) for _, code in commands], said
    return said


def everything_in(folder):
    """All bytes of all files, decompressed pictures' text chunks and all names."""
    return "".join(f"{p}\n" + (p.read_bytes().decode("latin1") if p.is_file() else "") for p in folder.rglob("*"))


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Both twins prepared, with all that was said."""
    root = tmp_path_factory.mktemp("phi")
    inbreast.write(root / "in")
    cbis_ddsm.write(root / "ddsm")
    one = ("prepare", "inbreast", root / "in", root / "out/inbreast", "--size", "64", "--crop", "breast")
    other = ("prepare", "cbis-ddsm", root / "ddsm", root / "out/cbis", "--size", "64", "--workers", 2)
    return root, massmatch((one, 0), (other, 3))


@pytest.mark.long
def test_row_51_no_name_in_any_output(prepared, trained):
    root, said = prepared
    out = root / "out"
    checks = [("check", out / name, *how) for name in ("inbreast", "cbis") for how in ((), ("--json",))]
    predict = ("predict", root / "in/AllDICOMs", "--run", trained, "--out", out / "predicted")
    said += massmatch(*((check, 3) for check in checks), (predict, 0))  # five patients are too few for five folds
    assert "12 of 12 images segmented" in said
    assert len(list((out / "predicted").iterdir())) == 12 * 3 + 2  # findings.csv and index.csv
    for text in (said, everything_in(out)):
        assert not [word for word in SENTINELS if word in text]


@pytest.mark.long
def test_row_51_nor_when_things_go_wrong(tmp_path):
    inbreast.write(tmp_path / "in")
    broken = sorted((tmp_path / "in/AllDICOMs").iterdir())
    broken[0].write_bytes(broken[0].read_bytes()[:-3000])
    broken[1].write_bytes(broken[1].read_bytes()[:700])
    prepare = ("prepare", "inbreast", tmp_path / "in", tmp_path / "out")
    said = massmatch((prepare, 3), ((*prepare, "--on-error", "skip"), 3))
    assert "AllDICOMs/20000001" in said
    assert "skipped: AllDICOMs/20000002" in said
    assert "Traceback" not in said
    for text in (said, everything_in(tmp_path / "out")):
        assert not [word for word in SENTINELS if word in text]


def test_row_52_known_datasets_are_named_by_their_public_ids(prepared):
    root, said = prepared
    assert sorted(p.stem for p in (root / "out/inbreast/images").iterdir()) == sorted(inbreast.IMAGES)
    assert str(root) not in said.replace(str(root / "out"), "")  # paths of the source are relative


def test_row_53_a_header_is_never_turned_into_text(tmp_path, monkeypatch):
    def shout(self, *_):
        raise AssertionError("a Dataset was printed")

    path = inbreast.write_image(_folder(tmp_path), "20000001", inbreast.P1, "L", "CC", inbreast.SMALL)
    monkeypatch.setattr(pydicom.Dataset, "__str__", shout)
    monkeypatch.setattr(pydicom.Dataset, "__repr__", shout)
    file = path.relative_to(tmp_path).as_posix()
    read_dicom(tmp_path, file)
    data = path.read_bytes()
    for length in range(140, len(data), 997):
        path.write_bytes(data[:length])
        with pytest.raises(DataError) as caught:
            read_dicom(tmp_path, file)
        assert "SENTINEL" not in str(caught.value)
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__ or caught.value.__context__ is None


def _folder(root):
    (root / "AllDICOMs").mkdir()
    return root
