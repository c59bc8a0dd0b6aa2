"""Several networks and mirrored images: the mean of their log-odds, with one threshold that is told."""

import hashlib
import itertools
import json
import math
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from bright import marked
from mammograms import write_dicom
from massmatch.cli import app
from massmatch.inference.batch import predict
from massmatch.inference.ensemble import Mean, Mirrored, load_ensemble, mean_logit, mean_threshold, mirrored
from massmatch.inference.network import load_network
from massmatch.runs.folder import RunFolder
from massmatch.runs.weights import halve, read_weights, write_weights
from massmatch.training.evaluate import probabilities
from massmatch.training.thresholds import THRESHOLDS


class Shifted(nn.Module):
    """Adds a number to the image."""

    def __init__(self, by):
        super().__init__()
        self.by = nn.Parameter(torch.tensor(float(by)))

    def forward(self, images):
        return images + self.by


def odds(probability):
    return probability / (1 - probability)


def test_the_odds_are_the_geometric_mean_of_the_odds():
    logits = [torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(n)) for n in range(3)]
    product = math.prod(odds(each.double().sigmoid()) for each in logits)
    torch.testing.assert_close(odds(mean_logit(logits).double().sigmoid()), product ** (1 / 3), atol=0, rtol=1e-5)


def test_a_certain_network_weighs_no_more_than_the_last_threshold():
    found = mean_logit([torch.tensor([200.0, -200.0, 200.0, 2.0]), torch.tensor([300.0, -300.0, -200.0, -4.0])])
    end = math.log(THRESHOLDS[-1] / (1 - THRESHOLDS[-1]))
    torch.testing.assert_close(found, torch.tensor([end, -end, 0.0, -1.0]), atol=1e-4, rtol=0)


@pytest.mark.parametrize("thresholds", [(0.5, 0.5), (0.87, 0.962), (0.2, 0.999), (0.9, 0.95, 0.9999)])
def test_where_each_stands_at_its_own_threshold_the_mean_stands_at_theirs(thresholds):
    at = mean_logit([torch.tensor(t, dtype=torch.float64).logit() for t in thresholds]).double().sigmoid()
    assert float(at) == pytest.approx(mean_threshold(thresholds), rel=1e-6)
    assert min(thresholds) <= float(at) <= max(thresholds)


def test_a_threshold_at_an_end_leaves_a_number():
    assert mean_threshold([0.0]) == 0.0  # of one network it is its own
    assert mean_threshold([0.0, 1.0]) == pytest.approx(0.5)
    assert 0 < mean_threshold([0.0, 0.5]) < 0.5


def test_an_ensemble_of_one_and_of_equals_is_the_one():
    images = torch.randn(1, 1, 8, 8)
    for count in (1, 3):
        torch.testing.assert_close(Mean([Shifted(1)] * count)(images), images + 1, atol=1e-5, rtol=0)


def test_a_mirrored_image_gives_the_mirrored_answer():
    network = Mirrored(nn.Conv2d(1, 1, 3, padding=1)).eval()
    images = torch.randn(1, 1, 8, 8)
    torch.testing.assert_close(network(images.flip(-1)), network(images).flip(-1))
    symmetric = images + images.flip(-1)
    torch.testing.assert_close(network(symmetric), network(symmetric).flip(-1))


def rewritten(path, source, **facts):
    """Other facts, and weights that are a little larger, so that they are of another network."""
    known, tensors = read_weights(source)
    more = 1 + 0.01 * len(path.name)
    nudged = {name: value * more if value.is_floating_point() else value for name, value in tensors.items()}
    write_weights(path, nudged, {**known, **facts})
    return path


def test_the_threshold_lies_between_and_what_is_prepared_otherwise_is_refused(trained, tmp_path):
    weights = trained / "best.safetensors"
    low, high = (rewritten(tmp_path / f"{t}.safetensors", weights, threshold=t) for t in (0.2, 0.65))
    network, facts = load_ensemble([low, high])
    assert facts["threshold"] == pytest.approx(math.sqrt(0.25 * 13 / 7) / (1 + math.sqrt(0.25 * 13 / 7)))  # odds
    alone = [load_network(path)[0] for path in (low, high)]
    image = np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)
    found, *apart = (probabilities(each, image, "min-max") for each in (network, *alone))
    expected = mean_logit([torch.from_numpy(each).logit() for each in apart]).sigmoid().numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert type(load_ensemble([trained])[0]) is type(alone[0])
    other = rewritten(tmp_path / "other.safetensors", weights, normalise="z-score")
    with pytest.raises(ValueError, match=r"--ensemble: .*other\.safetensors has normalise z-score, but .* has min-max"):
        load_ensemble([low, other])


def test_every_result_names_the_weights_by_the_digest_of_their_file(trained, weights, tmp_path):
    write_dicom(tmp_path / "a.dcm", marked("left")[0])
    copy = rewritten(tmp_path / "copy.safetensors", trained / "best.safetensors", threshold=0.0)
    batch = predict(tmp_path / "a.dcm", tmp_path / "out", weights=[trained, copy], threshold=0.0)
    (result,) = tmp_path.glob("out/*_findings.json")
    told = json.loads(result.read_text(encoding="utf-8"))
    run = RunFolder(trained)
    files = {f"{run.path.parent.name}/fold0": run / "best.safetensors", "copy.safetensors": copy}
    digests = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()}
    assert [(each["name"], each["sha256"]) for each in told["weights"]] == list(digests.items())
    assert {each["network"] for each in told["weights"]} == {"aunet of width 2"}
    in_a_table = "; ".join(f"{name} {digest[:12]}" for name, digest in digests.items())
    listed = pd.read_csv(tmp_path / "out/findings.csv")
    assert len(listed) == len(batch.findings) > 0
    assert set(listed["weights"]) == {in_a_table}


def test_a_network_that_never_saw_a_mirrored_image_is_asked_about_none():
    one_way = {"orientation": "left", "experiment": {}}
    with pytest.raises(ValueError, match="has only seen images with the chest wall on the left"):
        mirrored(Shifted(0), one_way)
    for fine in ({**one_way, "orientation": "mixed"}, {**one_way, "experiment": {"augment": "flips"}}):
        assert isinstance(mirrored(Shifted(0), fine), Mirrored)


def test_the_order_of_an_ensemble_makes_no_difference(trained, tmp_path):
    """The first network alone said whether mirrored images may be asked about."""
    flips, model = tmp_path / "flips.safetensors", tmp_path / "model.safetensors"
    facts, tensors = read_weights(trained / "best.safetensors")
    for path, by, augment in ((flips, 0.01, "flips"), (model, 0.02, "none")):
        moved = {name: value + by if value.is_floating_point() else value for name, value in tensors.items()}
        experiment = {**facts["experiment"], "augment": augment}
        write_weights(path, moved, {**facts, "experiment": experiment, "threshold": 0.7 + by})
    image, found = torch.rand(1, 1, 64, 64), []
    for order in itertools.permutations([flips, model, trained]):
        network, said = load_ensemble(order)
        found.append((network(image), said["threshold"]))
        with pytest.raises(ValueError, match="has only seen images with the chest wall on the left"):
            mirrored(network, said)
    assert all(torch.equal(found[0][0], other) and found[0][1] == at for other, at in found)
    assert isinstance(mirrored(*load_ensemble([flips])), Mirrored)


def test_predict_takes_one_network_or_several_and_says_the_threshold(trained, cohort, tmp_path):
    image = cohort.root / "images" / f"{cohort.ids[0]}.png"

    def asked(*arguments):
        return CliRunner().invoke(app, ["predict", str(image), *map(str, arguments), "--out", str(tmp_path / "out")])

    weights = rewritten(tmp_path / "a.safetensors", trained / "best.safetensors", threshold=0.3)
    done = asked("--ensemble", trained, weights)
    assert done.exit_code == 0, done.output
    assert "2 networks, threshold 0.395644, the mean of theirs in log-odds" in " ".join(done.output.split())
    for wrong, message in (
        (("--run", trained, "--weights", weights), "--run and --weights: give one of them"),
        (("--run", weights), "--run: must be the folder of a run"),
        (("--weights", trained), "--weights: must be a file"),
    ):
        done = asked(*wrong)
        assert done.exit_code == 2
        assert message in done.output


def test_a_network_that_is_given_twice_is_refused(trained, tmp_path):
    weights = trained / "best.safetensors"
    copy = shutil.copyfile(weights, tmp_path / "copy.safetensors")  # written anew, a file may differ in its order
    facts, tensors = read_weights(weights)
    write_weights(tmp_path / "other.safetensors", tensors, {**facts, "threshold": 0.3})
    halve(weights, tmp_path / "half.safetensors")
    others = (weights, copy, tmp_path / "other.safetensors", tmp_path / "half.safetensors")
    for twice in ([weights, other] for other in others):
        with pytest.raises(ValueError, match=r"^--ensemble: .* and .* are the same network, which would count twice"):
            load_ensemble(twice)


@pytest.mark.parametrize(
    "fact",
    [
        *({"threshold": value} for value in (5.0, -1.0, math.nan)),
        *({"size": value} for value in ([0, 0], [64], ["a", "b"])),
        {"normalise": "none"},
        {"orientation": "up"},
        *({"preprocessing": value} for value in ({"foo": 1}, {"size": [64, 64]}, {"crop": "some"})),
    ],
    ids=str,
)
def test_weights_whose_facts_cannot_be_are_refused(trained, tmp_path, fact):
    """A threshold of 5 would find nothing on any image, without a word."""
    ((name, _),) = fact.items()
    damaged = rewritten(tmp_path / "damaged.safetensors", trained / "best.safetensors", **fact)
    with pytest.raises(ValueError, match=rf"damaged\.safetensors says {name} .*, with which nothing can be predicted"):
        load_network(damaged)


@pytest.mark.parametrize("threshold", [np.float32(0.25), np.float64(0.25), 0.25])
def test_numbers_of_numpy_are_thresholds(trained, cohort, tmp_path, threshold):
    image = cohort.root / "images" / f"{cohort.ids[0]}.png"
    batch = predict(image, tmp_path / "out", weights=trained, threshold=threshold)
    assert (batch.threshold, batch.failed) == (0.25, {})


def test_what_cannot_be_predicted_with_is_refused_at_once(trained, cohort, tmp_path):
    image = cohort.root / "images" / f"{cohort.ids[0]}.png"
    for images, options, told in (
        ([], {}, "^images: must name at least one file"),
        (image, {"weights": []}, "^weights: must name at least one file"),
        (image, {"threshold": "0.5"}, "^--threshold: must be a probability from 0 to below 1, but is '0.5'"),
        (image, {"threshold": False}, "^--threshold: must be a probability from 0 to below 1, but is False"),
    ):
        with pytest.raises(ValueError, match=told):
            predict(images, tmp_path / "out", **{"weights": trained, **options})
    assert not (tmp_path / "out").exists()
