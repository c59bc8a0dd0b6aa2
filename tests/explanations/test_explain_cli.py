"""`massmatch explain` as a user meets it: three files, or a run and an id, and what it says when something is wrong."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image
from typer.testing import CliRunner

from massmatch.cli import app
from massmatch.data import DataError, open_cohort
from massmatch.errors import UsageError
from massmatch.explanations.ledger import ledger
from massmatch.explanations.subject import from_files, read_prediction
from massmatch.explanations.variants import family
from massmatch.losses import make_loss
from massmatch.runs.experiment import own_code


@pytest.fixture(autouse=True)
def coarse(monkeypatch):
    """All is drawn, on fewer pixels."""
    monkeypatch.setattr("massmatch.explanations.figure.SHARPNESS", 40)


def asked(*arguments):
    result = CliRunner().invoke(app, ["explain", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def save(path, pixels):
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def files(tmp_path):
    """An image, two touching masses as labels, and probabilities of 16 bits."""
    generator = np.random.default_rng(1)
    labels = np.zeros((40, 50), np.uint8)
    labels[10:18, 10:18], labels[18:26, 12:20] = 1, 2
    p = np.where(np.roll(labels, 1, 1) > 0, 0.9, 0.02)
    image = save(tmp_path / "left mlo.png", generator.integers(0, 255, labels.shape).astype(np.uint8))
    truth = save(tmp_path / "truth.png", labels)
    return image, truth, save(tmp_path / "p.png", np.rint(p * 65535).astype(np.uint16))


def test_three_files_become_picture_page_and_ledger(files, tmp_path):
    done = asked(*files, "--loss", "sm-tversky-s-nz:smooth=0.5", "--out", tmp_path / "new/out", "--json")
    assert done.exit_code == 0, done.output
    assert "probabilities of 16 bits" in done.output
    names = sorted(path.name for path in (tmp_path / "new/out").iterdir())
    assert names == [f"left mlo_explain.{ending}" for ending in ("csv", "html", "json", "png")]
    written = json.loads((tmp_path / "new/out/left mlo_explain.json").read_text())
    labels, p = (np.asarray(Image.open(path)) for path in files[1:])
    instances = torch.tensor(labels.astype(np.int64))[None, None]
    loss = make_loss("sm-tversky-s-nz:smooth=0.5", from_logits=False)
    value = loss(torch.tensor(p / 65535)[None, None], instances > 0, instances=instances).item()
    assert written["loss"] == pytest.approx(value, abs=1e-6)
    assert f"{written['loss']:.6f}" in done.output
    table = pd.read_csv(tmp_path / "new/out/left mlo_explain.csv")
    assert written["image"] + written["ratio"] * table["term"].sum() == pytest.approx(value, abs=1e-6)
    assert written["share_of_image"] + table["share_of_loss"].sum() == pytest.approx(1, abs=1e-6)
    assert len(written["ledger"]) == len(table) == written["cells"]
    assert [cell["kept"] for cell in written["ledger"]] == table["kept"].tolist()


def test_a_run_and_an_id_take_the_stored_probabilities_and_the_runs_loss(trained, cohort, tmp_path):
    id = pd.read_csv(trained / "rows.csv")["id"][0]
    done = asked(trained, id, "--cohort", cohort.root, "--out", tmp_path, "--json")
    assert done.exit_code == 0, done.output
    written = json.loads((tmp_path / f"{id}_explain.json").read_text())
    own = yaml.safe_load((trained / "experiment.yaml").read_text())["loss"]
    assert written["spec"] == written["name"] == own
    instances = torch.tensor(cohort.load(id).instances.astype(np.int64))[None, None]
    p = torch.tensor(np.asarray(Image.open(trained / "predictions" / f"{id}.png")) / 65535)[None, None]
    value = make_loss(own, from_logits=False)(p, instances > 0, instances=instances).item()
    assert written["loss"] == pytest.approx(value, abs=1e-6)
    other = asked(trained, id, "--cohort", cohort.root, "--out", tmp_path, "--loss", "dice")
    assert "dice: L(P, Y) =" in other.output


@pytest.mark.filterwarnings("always:.*was trained with")
def test_a_loss_of_ones_own_that_was_changed_after_the_training_is_told(trained, cohort, tmp_path, monkeypatch):
    """The cells were those of a loss with which nothing was trained."""
    monkeypatch.syspath_prepend(tmp_path)
    name, text = (
        "mine_to_explain:ours",
        "from massmatch import SpatialMatchingLoss\nours = SpatialMatchingLoss('dice')\n",
    )
    (tmp_path / "mine_to_explain.py").write_text(text)
    run = tmp_path / "run" / "fold0"
    shutil.copytree(trained, run)
    facts = yaml.safe_load((run / "experiment.yaml").read_text())
    facts |= {"loss": name, "own_code": own_code(name, "aunet")}
    (run / "experiment.yaml").write_text(yaml.safe_dump(facts))
    id = pd.read_csv(trained / "rows.csv")["id"][0]
    assert "what the loss computes" not in asked(run, id, "--out", tmp_path / "out").output
    (tmp_path / "mine_to_explain.py").write_text(f"{text}# changed\n")
    assert "what the loss computes may have changed" in " ".join(asked(run, id, "--out", tmp_path).output.split())


OWN = """
from massmatch.losses import SoftMatchingLoss, SpatialMatchingLoss, Tversky, WholeImageLoss

ready = SpatialMatchingLoss("dice", scale=True, distance=True, cell_size=8, grid_weight=0.5, threshold=0.3)
soft = SoftMatchingLoss("dice", cell_size=8, stray=0.25, distance=False)
plain = WholeImageLoss(Tversky(fn_weight=0.9, fp_weight=0.1))

class Preset(SpatialMatchingLoss):
    def __init__(self, weight=2.0, **options):
        super().__init__(core="tversky", nonzero=True, grid_weight=weight, cell_statistic="max", **options)

class Changed(SpatialMatchingLoss):
    def per_image(self, *arguments, **more):
        return 2 * super().per_image(*arguments, **more)

cored = SpatialMatchingLoss(lambda logits, target, **more: (logits.sigmoid() - target).abs().mean((-2, -1)))
"""


@pytest.mark.parametrize("name", ["ready", "soft", "plain", "Preset", "Preset:weight=0.5"])
def test_a_loss_of_ones_own_is_explained_as_it_was_made(files, tmp_path, monkeypatch, name):
    """It was explained with the defaults of ours, whatever it had been made with."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "mine_ready_made.py").write_text(OWN)
    subject = from_files(*files)
    labels = torch.from_numpy(subject.instances.astype(np.int64))[None, None]
    p = torch.from_numpy(subject.probability)[None, None]
    loss = make_loss(f"mine_ready_made:{name}")
    expected = loss(p.logit(), labels > 0, instances=labels).item()
    losses = family(f"mine_ready_made:{name}")
    told = ledger(losses.loss(losses.asked), subject.probability, subject.instances)
    assert told.loss == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("name", "said"), [("Changed", "has a per_image of its own"), ("cored", "the core of")])
def test_a_loss_of_ones_own_that_computes_something_else_is_not_explained_as_ours(tmp_path, monkeypatch, name, said):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "mine_ready_made.py").write_text(OWN)
    with pytest.raises(UsageError, match=said):
        family(f"mine_ready_made:{name}")


def test_the_ledger_of_an_earlier_loss_is_not_left_beside_the_new_picture(files, tmp_path):
    for loss, more, endings in (
        ("sm-tversky-s-a", ["--json"], ("csv", "html", "json", "png")),
        ("sm-tversky-s-nz", [], ("csv", "html", "png")),
    ):
        assert asked(*files, "--loss", loss, "--out", tmp_path / "out", *more).exit_code == 0
        names = sorted(path.name for path in (tmp_path / "out").iterdir())
        assert names == [f"left mlo_explain.{ending}" for ending in endings]


def test_several_ids_of_a_run_are_explained_one_after_the_other(trained, cohort, tmp_path):
    ids = pd.read_csv(trained / "rows.csv")["id"][:2].tolist()
    assert asked(trained, *ids, "--cohort", cohort.root, "--out", tmp_path).exit_code == 0
    assert len(list(tmp_path.glob("*_explain.html"))) == 2


def test_wrong_usage_says_what_to_give(files, trained, cohort, tmp_path):
    image, truth, prediction = files
    id = pd.read_csv(trained / "rows.csv")["id"][0]
    wrong = {
        (image, truth, "--loss", "dice"): "three files",
        (image, truth, prediction): "give --loss NAME",
        (image, truth, prediction, "--loss", "dice", "--cohort", cohort.root): "--cohort belongs to a run",
        (image, truth, tmp_path / "none.png", "--loss", "dice"): "no such file",
        (image, truth, prediction, "--loss", "sm-tversky-s"): "did you mean 'sm-tversky-s",
        (image, truth, prediction, "--loss", "boundary"): "has no cells",
        (image, truth, prediction, "--loss", "sm-bce-b-a:celsize=4"): "did you mean 'cell_size'",
        (tmp_path / "nowhere", id, "--cohort", cohort.root): "no such file or folder",
        (trained, "--cohort", cohort.root): "give the id of an image",
        (tmp_path, id, "--cohort", cohort.root): "holds no run",
        (trained, id[:-1], "--cohort", cohort.root): f"did you mean '{id[:-2]}",
    }
    for arguments, said in wrong.items():
        done = asked(*arguments, "--out", tmp_path / "out")
        assert done.exit_code == 2, arguments
        assert said in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_an_image_of_the_training_part_is_named_as_such(trained, cohort, tmp_path):
    tested = set(pd.read_csv(trained / "rows.csv")["id"])
    id = next(id for id in cohort.ids if id not in tested)
    done = asked(trained, id, "--cohort", cohort.root, "--out", tmp_path)
    assert done.exit_code == 2
    assert f"holds no prediction of {id}, which is in the " in done.stderr
    assert "part of fold 0: only test images have one" in done.stderr


def test_the_fold_that_tests_an_image_is_named(trained, cohort, tmp_path):
    run = tmp_path / "fold0"
    shutil.copytree(trained, run)
    facts = yaml.safe_load((run / "experiment.yaml").read_text()) | {"scheme": "kfold", "folds": 3}
    (run / "experiment.yaml").write_text(yaml.safe_dump(facts))
    shutil.rmtree(run / "predictions")
    said = [asked(run, id, "--cohort", cohort.root, "--out", tmp_path).stderr for id in cohort.ids]
    assert sum("fold 1 tests it" in line for line in said) > 0
    assert sum("fold 2 tests it" in line for line in said) > 0
    unfinished = [line for line in said if "the run is not finished" in line]
    assert unfinished
    assert len(unfinished) + sum("tests it" in line for line in said) == len(cohort.ids)


def test_another_cohort_than_the_runs_is_refused(trained, cohort, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(cohort.root, other)
    id = pd.read_csv(trained / "rows.csv")["id"][0]
    path = other / "masks" / f"{id}.png"
    save(path, np.asarray(Image.open(path)).T.copy())
    done = asked(trained, id, "--cohort", other, "--out", tmp_path / "out")
    assert done.exit_code == 2
    assert "is not the cohort of the run, or has changed" in done.stderr
    assert open_cohort(other).fingerprint in done.stderr


def test_a_damaged_experiment_is_named(trained, cohort, tmp_path):
    run = tmp_path / "fold0"
    run.mkdir()
    for text, said in (("{", "cannot be read"), ("loss: dice", "lacks model")):
        (run / "experiment.yaml").write_text(text)
        done = asked(run, cohort.ids[0], "--cohort", cohort.root)
        assert done.exit_code == 1
        assert said in done.stderr


def test_files_of_other_sizes_are_data_that_are_wrong(files, tmp_path):
    image, truth, prediction = files
    small = save(tmp_path / "small.png", np.zeros((20, 25), np.uint8))
    for arguments in ((image, small, prediction), (image, truth, small)):
        done = asked(*arguments, "--loss", "dice", "--out", tmp_path)
        assert done.exit_code == 3
        assert "small.png" in done.stderr
        assert "(40, 50)" in done.stderr


def test_a_truth_of_labels_keeps_touching_masses_apart_and_a_binary_one_does_not(files, tmp_path):
    image, truth, prediction = files
    assert from_files(image, truth, prediction).instances.max() == 2
    binary = save(tmp_path / "binary.png", ((np.asarray(Image.open(truth)) > 0) * 255).astype(np.uint8))
    assert from_files(image, binary, prediction).instances.max() == 1


@pytest.mark.parametrize(
    ("pixels", "values", "read_as"),
    [
        (np.array([[0, 255]], np.uint8), [0, 1], "a mask"),
        (np.array([[0, 1]], np.uint8), [0, 1], "a mask"),
        (np.array([[0, 65535]], np.uint16), [0, 1], "a mask"),
        (np.array([[0, 128, 255]], np.uint8), [0, 128 / 255, 1], "probabilities of 8 bits"),
        (np.array([[0, 300, 65535]], np.uint16), [0, 300 / 65535, 1], "probabilities of 16 bits"),
        (np.array([[0, 0]], np.uint16), [0, 0], "probabilities of 16 bits"),
    ],
)
def test_a_prediction_is_read_as_what_it_is(tmp_path, pixels, values, read_as):
    found, how = read_prediction(save(tmp_path / "p.png", pixels), pixels.shape)
    assert how == read_as
    assert found[0].tolist() == values


def test_a_prediction_that_looks_like_labels_is_warned_of(tmp_path):
    labels = np.array([[0, 1, 2, 3]], np.uint8)
    with pytest.warns(UserWarning, match="if these are labels, save a mask of 0 and 255"):
        read_prediction(save(tmp_path / "p.png", labels), labels.shape)


def test_a_stored_prediction_of_next_to_nothing_is_no_mask(trained, cohort, tmp_path):
    run = tmp_path / "fold0"
    shutil.copytree(trained, run)
    id = pd.read_csv(trained / "rows.csv")["id"][0]
    faint = np.zeros(cohort.load(id).image.shape, np.uint16)
    faint[0, 0] = 1
    save(run / "predictions" / f"{id}.png", faint)
    done = asked(run, id, "--cohort", cohort.root, "--out", tmp_path / "out", "--json")
    assert done.exit_code == 0
    assert json.loads((tmp_path / "out" / f"{id}_explain.json").read_text())["predicted"] == 0


def test_a_prediction_in_colour_is_refused(files, tmp_path):
    image, truth, _ = files
    colour = save(tmp_path / "colour.png", np.random.default_rng(0).integers(0, 255, (40, 50, 3)).astype(np.uint8))
    with pytest.raises(DataError, match=r"colour.png: must be grey"):
        from_files(image, truth, colour)


def test_the_contour_is_drawn_at_the_threshold_of_the_loss_whatever_the_run_was_measured_at(trained, cohort, tmp_path):
    run = shutil.copytree(trained, tmp_path / "run/fold0")
    facts = yaml.safe_load((run / "experiment.yaml").read_text())
    (run / "experiment.yaml").write_text(yaml.safe_dump({**facts, "threshold": "validation"}))
    rows = pd.read_csv(run / "rows.csv").assign(threshold=0.05)
    rows.to_csv(run / "rows.csv", index=False)
    id = rows["id"].iloc[0]
    done = asked(run, id, "--cohort", cohort.root, "--out", tmp_path / "out", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads((tmp_path / f"out/{id}_explain.json").read_text())["threshold"] == 0.5
    both = "prediction above 0.5, the threshold of the loss; the run was measured above 0.05 (rows.csv, report)"
    assert both in " ".join(done.output.split())
    assert both in (tmp_path / f"out/{id}_explain.html").read_text()
