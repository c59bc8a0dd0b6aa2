"""Where a training starts: at random, with the encoder that learned on ImageNet, or with weights of an earlier run."""

import importlib.util
import warnings
from hashlib import sha256

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from matplotlib import cbook
from PIL import Image

from conftest import tiny
from massmatch.errors import UsageError
from massmatch.models import LiteUNet
from massmatch.models.lite_unet import IMAGENET_PACKAGE, imagenet_encoder, imagenet_file
from massmatch.runs.collection import collect
from massmatch.runs.experiment import experiment_on
from massmatch.runs.folder import RunFolder
from massmatch.runs.start import PACKAGED
from massmatch.runs.weights import load_weights, read_weights, write_weights
from massmatch.sweeps.machines import Machines
from massmatch.sweeps.plan import checked
from massmatch.sweeps.sweep import Sweep
from massmatch.training.loop import seeded_model
from massmatch.training.run import run
from massmatch.training.start import check_start

UNIFORM, TIE = 652, 457  # classes of ImageNet: military uniform, bow tie


def test_the_encoder_and_the_published_classifier_see_what_grace_hopper_wears():
    network = LiteUNet().eval()
    network.start_from_imagenet()
    picture = Image.open(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)).convert("L")
    y = network.stem(
        torch.from_numpy(np.asarray(picture.crop((0, 0, 512, 512)).resize((224, 224)), np.float32))[None, None] / 255
    )
    for stage in network.stages:
        y = stage(y)
    of = torch.load(imagenet_file(), weights_only=True)
    moments = (of["_bn1.running_mean"], of["_bn1.running_var"])
    y = F.batch_norm(F.conv2d(y, of["_conv_head.weight"]), *moments, of["_bn1.weight"], of["_bn1.bias"], eps=1e-3)
    classes = F.relu6(y).mean((2, 3)) @ of["_fc.weight"].T + of["_fc.bias"]
    assert classes.topk(2).indices[0].tolist() == [UNIFORM, TIE]


def test_imagenet_changes_the_encoder_and_leaves_the_decoder_to_the_seed(cohort):
    drawn = seeded_model(tiny(cohort, model="lite-unet")).state_dict()
    learned = seeded_model(tiny(cohort, model="lite-unet", start="imagenet")).state_dict()
    encoder = {name for name in drawn if name.startswith(("stem", "stages"))}
    assert len(encoder) == sum(1 for _ in imagenet_encoder())
    for name in drawn:
        if name not in encoder:
            assert torch.equal(drawn[name], learned[name])
    assert not torch.equal(drawn["stages.3.0.layers.0.weight"], learned["stages.3.0.layers.0.weight"])


def test_imagenet_is_refused_for_other_networks_several_channels_and_where_it_is_not_installed(cohort, monkeypatch):
    with pytest.raises(UsageError, match=r"^start: imagenet is for --model lite-unet alone, but the network is aunet"):
        check_start(experiment_on(cohort, start="imagenet", width=2), 0)
    with pytest.raises(ValueError, match="in_channels must be 1"):
        LiteUNet(3, 1).start_from_imagenet()
    monkeypatch.setattr("massmatch.runs.start.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'massmatch\[imagenet\]'"):
        experiment_on(cohort, start="imagenet", model="lite-unet")


def test_a_file_of_imagenet_that_is_not_the_published_one_is_refused(tmp_path, monkeypatch):
    (tmp_path / IMAGENET_PACKAGE / "models").mkdir(parents=True)
    (tmp_path / IMAGENET_PACKAGE / "__init__.py").touch()
    (tmp_path / IMAGENET_PACKAGE / "models" / "changed.pth").write_bytes(b"changed")
    spec = importlib.util.spec_from_file_location(IMAGENET_PACKAGE, tmp_path / IMAGENET_PACKAGE / "__init__.py")
    monkeypatch.setattr("massmatch.models.lite_unet.find_spec", lambda name: spec)
    with pytest.raises(ValueError, match=r"changed\.pth is not the published file: its SHA-256 is"):
        list(imagenet_encoder())


def test_the_first_weights_are_those_of_the_run_that_is_named(cohort, trained):
    experiment = experiment_on(cohort, start=str(trained), width=2, scheme="split", seed=5)
    assert experiment.start == str(trained / "best.safetensors")
    before, _ = load_weights(trained / "best.safetensors")
    first = seeded_model(experiment)
    assert all(torch.equal(value, first.state_dict()[name]) for name, value in before.state_dict().items())


def test_weights_of_the_same_cohort_are_taken_for_their_own_fold_alone(cohort, trained, tmp_path):
    with pytest.raises(UsageError, match="has learned from images of the test part of fold 0"):
        run(tiny(cohort, start=str(trained), seed=1), cohort, 0, tmp_path)
    folder = run(tiny(cohort, start=str(trained), epochs=1), cohort, 0, tmp_path)  # goes on in the same division
    digest = sha256((trained / "best.safetensors").read_bytes()).hexdigest()
    assert RunFolder(folder).experiment()["start_sha256"] == digest
    assert [each.network for each in collect(folder).finished] == [f"aunet-w2 from best {digest[:8]}"]


def test_weights_that_started_from_weights_of_the_same_cohort_are_known(cohort, trained, tmp_path):
    """The network learned from the test part of another fold twice removed, and nothing was said."""
    facts, tensors = read_weights(trained / "best.safetensors")
    path, digest = trained / "best.safetensors", sha256((trained / "best.safetensors").read_bytes()).hexdigest()
    for name in ("second", "third"):  # each of another cohort
        of = {**facts["experiment"], "fingerprint": name, "start": str(path), "start_sha256": digest}
        path = tmp_path / f"{name}.safetensors"
        write_weights(path, tensors, {**facts, "experiment": of})
        digest = sha256(path.read_bytes()).hexdigest()
    told = r"third\.safetensors started from .*best\.safetensors, which was trained on this cohort, and has learned"
    with pytest.raises(UsageError, match=told):
        check_start(tiny(cohort, start=str(path), seed=1), 0)
    check_start(tiny(cohort, start=str(path)), 0)  # the same division
    (tmp_path / "second.safetensors").unlink()
    with pytest.warns(UserWarning, match=r"third\.safetensors started from .*second\.safetensors, which is there"):
        check_start(tiny(cohort, start=str(path), seed=1), 0)


def test_a_file_of_another_network_and_one_that_is_not_there_are_refused(cohort, trained):
    with pytest.raises(
        UsageError, match=r"is of aunet of width 2, not of aunet of width 3: give --model aunet --width 2"
    ):
        check_start(experiment_on(cohort, start=str(trained), width=3, scheme="split"), 0)
    with pytest.raises(
        UsageError, match="start: must be random, imagenet, packaged, a run or a file of weights, but is no"
    ):
        experiment_on(cohort, start="nowhere")


def test_the_network_in_the_package_can_be_trained_further(cohort):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        facts = load_weights(PACKAGED)[1]
    experiment = experiment_on(cohort, start="packaged", model=facts["model"], width=facts["width"])
    assert experiment.start == "packaged"
    model, packaged = seeded_model(experiment), load_weights(PACKAGED)[0]
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in packaged.state_dict().items())


def test_a_file_that_changed_after_it_was_described_is_refused(cohort, trained, tmp_path):
    copy = tmp_path / "w.safetensors"
    copy.write_bytes((trained / "best.safetensors").read_bytes())
    experiment = tiny(cohort, start=str(copy))
    copy.write_bytes(PACKAGED.read_bytes())
    with pytest.raises(UsageError, match="has changed since this experiment was described"):
        run(experiment, cohort, 0, tmp_path / "runs")


def planned(cohort, out, **content):
    return Sweep.planned_on(cohort, checked(content), out, Machines(jobs=1)).planned


@pytest.mark.parametrize(
    ("training", "message"),
    [
        ({"start": "nowhere"}, "start: must be random, imagenet, packaged, a run or a file of weights, but is nowhere"),
        ({"start": "imagenet"}, "start: imagenet is for --model lite-unet alone"),
        ({"start": "RUN", "scheme": "split", "width": 3}, "give --model aunet --width 2"),
        (
            {"start": "RUN", "scheme": "kfold", "folds": 3, "width": 2},
            "has learned from images of the test part of fold 0",
        ),
    ],
)
def test_a_sweep_finds_a_start_that_cannot_be_before_anything_runs(cohort, trained, tmp_path, training, message):
    training = {name: str(trained) if value == "RUN" else value for name, value in training.items()}
    with pytest.raises(UsageError, match=message):
        planned(cohort, tmp_path, losses=["dice", "bce"], training=training)
    assert not any(tmp_path.iterdir())


def test_a_sweep_over_the_network_that_imagenet_fits_is_planned(cohort, tmp_path):
    plan = checked({"losses": ["dice"], "models": ["lite-unet"], "training": {"start": "imagenet", "width": 2}})
    assert {run.experiment.start for run in Sweep.planned_on(cohort, plan, tmp_path, Machines(jobs=1)).planned} == {
        "imagenet"
    }
