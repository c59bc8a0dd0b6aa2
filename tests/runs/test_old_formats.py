"""What version 0.1 has written still works: a cohort, a finished run with its weights, a run that was cut off.

The archive was made by the code of commit cd84cef, version 0.1.0: five phantoms of 64 pixels, prepared at 32 x 32 with
the chest wall to the left; a U-Net of width 1 trained with bce for one epoch (runs/), and cut off after
the first of two (cut/).
"""

import hashlib
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

import massmatch
from massmatch.errors import RunError
from massmatch.runs.checkpoint import load_checkpoint
from massmatch.training.evaluate import evaluate_run

ARCHIVE = Path(__file__).parents[1] / "fixtures/version_0_1.tar.xz"
HOW = {
    **{"loss": "bce", "model": "unet", "width": 1, "folds": 3, "batch_size": 2, "threads": 1},
    **{"learning_rate": 1e-4, "precision": "float32", "memory": "contiguous"},
}


@pytest.fixture
def old(tmp_path):
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path


def test_the_cohort_opens_as_it_was(old):
    cohort = massmatch.open_cohort(old / "cohort")
    assert cohort.fingerprint == "28812a85aead7ef7"
    assert (len(cohort), cohort.orientation, cohort.preprocessing.flip) == (5, "left", "left")
    sample = cohort.load(cohort.ids[0])
    assert sample.image.shape == sample.instances.shape == (32, 32)
    assert sample.instances.max() == 1
    assert cohort.native_instances(cohort.ids[0]).shape == (64, 64)


def test_the_run_is_done_and_belongs_to_the_experiment_of_today(old):
    (run,) = massmatch.collect(old / "runs").finished
    assert (run.loss, run.model, len(run.rows), len(run.history)) == ("bce", "unet", 2, 1)
    again = massmatch.train(old / "cohort", out=old / "runs", epochs=1, **HOW)
    assert again.path == run.folder  # it has the same name, so it is found, and nothing is trained
    assert massmatch.report(old / "runs", cohort=old / "cohort", out=old / "report", draws=100).is_file()


def test_the_weights_predict_what_they_predicted(old):
    run = massmatch.RunFolder.find(old / "runs")
    before = {path.name: np.asarray(Image.open(path)).astype(float) for path in (run / "predictions").iterdir()}
    rows = run.rows()
    evaluate_run(run.path, massmatch.open_cohort(old / "cohort"))
    for name, values in before.items():
        np.testing.assert_allclose(np.asarray(Image.open(run / f"predictions/{name}")), values, atol=2)
    pd.testing.assert_frame_equal(run.rows()[["id", "dsc", "tp"]], rows[["id", "dsc", "tp"]], atol=1e-3)
    _, facts = massmatch.load_network(run.path)
    assert (facts["model"], facts["width"]) == ("unet", 1)


def test_a_run_that_was_cut_off_goes_on(old):
    cut = massmatch.RunFolder.find(old / "cut")
    assert cut.state == "interrupted"
    assert len(load_checkpoint(cut / "last.ckpt")["history"]) == 1
    first = cut.history()
    run = massmatch.train(old / "cohort", out=old / "cut", epochs=2, **HOW)
    assert (run.path, run.state) == (cut.path, "done")
    pd.testing.assert_frame_equal(run.history().iloc[:1][first.columns], first)
    assert len(run.history()) == 2


def test_a_checkpoint_from_before_0_1_is_refused_in_one_line(old):
    path = massmatch.RunFolder.find(old / "cut") / "last.ckpt"
    _, _, rest = path.read_bytes().partition(b"\n")
    content = rest.partition(b"\n")[2]  # the first runs of all wrote no second line
    path.write_bytes(hashlib.sha256(content).hexdigest().encode() + b"\n" + content)
    with pytest.raises(RunError, match="its second line names no format 'massmatch-checkpoint'"):
        load_checkpoint(path)


def test_options_that_came_later_have_their_defaults_in_an_old_run(old):
    run = massmatch.RunFolder.find(old / "runs")
    facts = yaml.safe_load((run / "experiment.yaml").read_text())
    assert "augment" not in facts
    copy = old / "more" / run.path.parent.name
    shutil.copytree(run.path.parent, copy)
    (new,) = massmatch.collect(copy).finished
    assert new.facts["augment"] == "none"
