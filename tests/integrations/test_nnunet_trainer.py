"""The trainer for nnU-Net: its loss on what nnU-Net hands over, its file, and a whole small run where nnU-Net works."""

import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from massmatch.cli import app
from massmatch.errors import UsageError
from massmatch.integrations.nnunet import NNUNetLoss, install_trainer, scale_weights
from massmatch.losses import SoftMatchingLoss, SpatialMatchingLoss

EXAMPLE = Path(__file__).parents[2] / "examples/nnunet_trainer.py"


def batch():
    torch.manual_seed(0)
    labels = torch.zeros(2, 1, 32, 32)
    labels[0, 0, 4:12, 6:14], labels[1, 0, 20:26, 20:30] = 1, 1
    return torch.randn(2, 2, 32, 32), labels


def test_two_logits_become_one():
    output, labels = batch()
    sm = SpatialMatchingLoss("tversky", scale=True)
    p = output.softmax(1)[:, 1:]
    expected = SpatialMatchingLoss("tversky", scale=True, from_logits=False)(p, labels)
    torch.testing.assert_close(NNUNetLoss(sm)(output, labels), expected)
    leaf = output.requires_grad_()
    NNUNetLoss(sm)(leaf, labels).backward()
    torch.testing.assert_close(leaf.grad[:, 0], -leaf.grad[:, 1])  # a softmax of two has one degree of freedom


def test_the_ignored_label_has_no_influence():
    output, labels = batch()
    labels[..., 28:] = 2
    other = output.clone()
    other[..., 28:] = 9.0
    loss = NNUNetLoss(SpatialMatchingLoss("bce"), ignored=2)
    torch.testing.assert_close(loss(output, labels), loss(other, labels))


def test_regions_are_channels_of_their_own():
    output, labels = batch()
    truth = torch.cat([labels, 1 - labels], 1)
    sm = SpatialMatchingLoss("tversky", scale=True)
    torch.testing.assert_close(NNUNetLoss(sm, regions=True)(output, truth), sm(output, truth))
    ignored = torch.zeros_like(labels)
    ignored[..., 30:] = 1
    with_ignored = NNUNetLoss(sm, regions=True, ignored=3)(output, torch.cat([truth, ignored], 1))
    torch.testing.assert_close(with_ignored, sm(output, truth, mask=1 - ignored))


def test_each_scale_has_cells_of_its_own():
    """Deep supervision hands over smaller targets: masses of half the size give cells of half the size."""
    _, labels = batch()
    small = labels[..., ::2, ::2]
    sm = SpatialMatchingLoss("tversky", min_cell=1)
    assert (sm.facts(labels)[0]["cell_size"] == 2 * sm.facts(small)[0]["cell_size"]).all()


def test_more_labels_are_refused():
    with pytest.raises(ValueError, match="takes the labels background and mass, but there are 3"):
        NNUNetLoss(SpatialMatchingLoss())(torch.randn(1, 3, 8, 8), torch.zeros(1, 1, 8, 8))


def test_weights_of_the_scales():
    np.testing.assert_allclose(scale_weights(4), np.array([1, 0.5, 0.25, 0]) / 1.75)
    np.testing.assert_allclose(scale_weights(1), [1])
    assert scale_weights(3, last=1e-6)[-1] > 0


def test_the_file_of_the_trainer(tmp_path):
    result = CliRunner().invoke(
        app, ["nnunet", "install-trainer", str(tmp_path / "t"), "--loss", "sm-dice-sd-nz:cell_statistic=mean"]
    )
    assert result.exit_code == 0, result.output
    text = (tmp_path / "t/nnUNetTrainerSpatialMatching.py").read_text()
    assert (
        "spatial_matching_trainer('dice', {'scale': True, 'distance': True, 'nonzero': True, 'cell_statistic': 'mean'})"
        in text
    )
    compile(text, "trainer", "exec")
    assert "export nnUNet_extTrainer=" in result.output
    with pytest.raises(UsageError, match="is another trainer"):
        install_trainer(tmp_path / "t", "bce")


def test_the_file_of_a_trainer_with_the_soft_loss(tmp_path):
    spec = "soft-sm:random_phase=true,core=tversky"
    result = CliRunner().invoke(app, ["nnunet", "install-trainer", str(tmp_path), "--loss", spec, "--name", "Soft"])
    assert result.exit_code == 0, result.output
    text = (tmp_path / "Soft.py").read_text()
    assert "Trainer = soft_matching_trainer('tversky', {'random_phase': True})" in text
    assert "import soft_matching_trainer" in text
    compile(text, "trainer", "exec")


def test_the_soft_loss_takes_what_nnunet_hands_over():
    target = torch.zeros(2, 1, 32, 32)
    target[:, :, 4:12, 6:14] = 1
    output = torch.randn(2, 2, 32, 32, requires_grad=True)
    loss = SoftMatchingLoss()
    value = NNUNetLoss(loss)(output, target)
    torch.testing.assert_close(value, loss(output[:, 1:] - output[:, :1], target))
    value.backward()
    assert output.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--loss", "bce"], "must be soft-sm or one of the losses sm-"),
        (["--name", "my trainer"], "must be one of a Python class"),
    ],
)
def test_what_cannot_be_a_trainer(tmp_path, arguments, told):
    result = CliRunner().invoke(app, ["nnunet", "install-trainer", str(tmp_path), *arguments])
    assert result.exit_code == 2
    assert told in result.output


@pytest.mark.long
@pytest.mark.parametrize(
    ("module", "trainer"),
    [
        ("nnUNetTrainerSpatialMatching", "nnUNetTrainerSpatialMatching"),  # what install-trainer writes
        ("nnunet_trainer", "nnUNetTrainerScaledMatching"),  # that of examples/
    ],
)
def test_a_whole_run_in_nnunet(module, trainer, cohort, tmp_path):
    """Plans, trains two epochs of two steps, validates and predicts made-up mammograms on the CPU.

    The trainer is taken from its file, as nnU-Net does once it has found it: its own search imports trainers that need
    torchvision, which does not work beside a torch for the CPU.
    """
    pytest.importorskip("nnunetv2", reason="nnU-Net is not installed here: `make test-nnunet` runs this")
    from massmatch.data.export import export_nnunet

    export_nnunet(cohort, tmp_path / "raw/Dataset101_Mass", folds=3)
    install_trainer(tmp_path / "trainers", "tversky", {"scale": True})
    shutil.copy(EXAMPLE, tmp_path / "trainers")
    script = tmp_path / "go.py"
    script.write_text(textwrap.dedent(RUN.format(root=str(tmp_path), module=module, trainer=trainer)))
    variables = {"nnUNet_raw": "raw", "nnUNet_preprocessed": "pre", "nnUNet_results": "results"}
    environment = os.environ | {name: str(tmp_path / folder) for name, folder in variables.items()}
    environment |= {"OMP_NUM_THREADS": "1", "nnUNet_n_proc_DA": "1", "nnUNet_compile": "f"}
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["loss"] == "DeepSupervisionWrapper(NNUNetLoss(SpatialMatchingLoss))"
    assert np.isfinite(told["losses"]).all()
    assert told["shape"] == [64, 64]
    assert set(told["values"]) <= {0, 1}


RUN = """
    import json, sys, warnings
    from pathlib import Path
    warnings.simplefilter("ignore")
    if __name__ == "__main__":
        import numpy as np, torch
        from nnunetv2.experiment_planning.plan_and_preprocess_api import extract_fingerprints, plan_experiments
        from nnunetv2.experiment_planning.plan_and_preprocess_api import preprocess
        root = Path({root!r})
        sys.path.insert(0, str(root / "trainers"))
        extract_fingerprints([101], num_processes=1)
        plans = plan_experiments([101])
        preprocess([101], plans or "nnUNetPlans", configurations=["2d"], num_processes=[1])
        pre = root / "pre/Dataset101_Mass"
        splits = json.loads((root / "raw/Dataset101_Mass/splits_final.json").read_text())
        (pre / "splits_final.json").write_text(json.dumps(splits))
        from {module} import {trainer} as Trainer
        plans = json.loads((pre / "nnUNetPlans.json").read_text())
        plans["continue_training"] = False
        trainer = Trainer(plans, "2d", 0, json.loads((pre / "dataset.json").read_text()), device=torch.device("cpu"))
        trainer.num_epochs, trainer.num_iterations_per_epoch, trainer.num_val_iterations_per_epoch = 2, 2, 1
        trainer.run_training()
        kinds = [type(trainer.loss), type(trainer.loss.loss), type(trainer.loss.loss.loss)]
        trainer.perform_actual_validation(False)
        trainer.set_deep_supervision_enabled(False)
        image = sorted((root / "raw/Dataset101_Mass/imagesTr").iterdir())[0]
        from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
        predictor = nnUNetPredictor(device=torch.device("cpu"), perform_everything_on_device=False, allow_tqdm=False)
        predictor.manual_initialization(
            trainer.network, trainer.plans_manager, trainer.configuration_manager, [trainer.network.state_dict()],
            trainer.dataset_json, "{trainer}", None)
        from nnunetv2.imageio.natural_image_reader_writer import NaturalImage2DIO
        data, properties = NaturalImage2DIO().read_images([str(image)])
        found = predictor.predict_single_npy_array(data, properties)
        losses = trainer.logger.get_checkpoint()["train_losses"]
        name = "{{}}({{}}({{}}))".format(*(k.__name__ for k in kinds))
        print(json.dumps({{"loss": name, "losses": [float(x) for x in losses], "shape": list(np.squeeze(found).shape),
                          "values": np.unique(found).tolist()}}))
"""
