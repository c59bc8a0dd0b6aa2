"""Runs: complete, repeatable to the bit, resumed after a kill, stopped by NaN."""

import shutil
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image

from conftest import tiny
from interruption import CutOffError, cut_in
from massmatch.cli.screen import told
from massmatch.data import Cohort, DataError, Sample, split, write_cohort
from massmatch.errors import RunError
from massmatch.losses import WholeImageLoss, make_loss
from massmatch.metrics import image_metrics
from massmatch.runs.checkpoint import load_checkpoint
from massmatch.runs.experiment import Experiment
from massmatch.runs.failure import write_failure
from massmatch.runs.folder import FAILED, RunFolder
from massmatch.runs.precision import FABRIC, LAYOUTS, fastest
from massmatch.runs.record import recorded
from massmatch.runs.weights import load_weights
from massmatch.training import loop as epochs
from massmatch.training import run as fit
from massmatch.training.batches import Loader, Samples, batch_sizes
from massmatch.training.evaluate import evaluate_run
from massmatch.training.loop import seeded_model
from started import started


def test_a_run_holds_what_it_promises(trained, cohort):
    names = {path.name for path in trained.iterdir() if not path.name.startswith(".")}
    assert names == {
        "experiment.yaml",
        "history.csv",
        "history.jsonl",
        "last.ckpt",
        "best.safetensors",
        "predictions",
        "rows.csv",
        "candidates.csv",
        "DONE",
    }
    rows = pd.read_csv(trained / "rows.csv")
    parts = split(cohort.table, cohort.mass_fraction, scheme="split")
    assert rows["id"].tolist() == parts.test
    assert {"id", "dsc", "delta_a", "sen", "acc", "hau_px", "hau95_px"} <= set(rows)
    assert len(pd.read_csv(trained / "history.csv")) == 2
    facts = yaml.safe_load((trained / "experiment.yaml").read_text())
    assert facts["fingerprint"] == cohort.fingerprint
    assert facts["resolved"]["precision"] == "float32"
    assert facts["resolved"]["images"]["test"] == len(parts.test)


def test_rows_follow_from_the_stored_probabilities(trained, cohort):
    rows = pd.read_csv(trained / "rows.csv").set_index("id")
    for id in rows.index[:3]:
        stored = np.asarray(Image.open(trained / "predictions" / f"{id}.png"))
        assert stored.dtype == np.uint16
        of = image_metrics(stored / 65535 > 0.5, cohort.load(id).mask)
        assert of["dsc"] == pytest.approx(rows.loc[id, "dsc"], abs=0.02)  # 16 bits may move a pixel over the threshold


def test_the_folder_is_named_by_the_experiment(cohort, tmp_path):
    experiment = tiny(cohort, loss="tversky:smooth=0.1", seed=3)
    folder = experiment.folder(tmp_path, 2)
    assert folder.parent.name == f"tiny_aunet-w2_tversky+smooth=0.1_seed3_{experiment.digest}"
    assert folder.name == "fold2"
    assert experiment.digest != tiny(cohort, loss="tversky:smooth=0.1", seed=4).digest


def test_a_finished_run_is_left_alone(trained, cohort):
    before = (trained / "rows.csv").stat().st_mtime_ns
    assert fit.run(tiny(cohort), cohort, 0, trained.parent.parent) == trained
    assert (trained / "rows.csv").stat().st_mtime_ns == before


def test_a_run_that_failed_in_a_sweep_and_is_started_by_hand_has_failed_no_more(cohort, tmp_path):
    experiment, seen = tiny(cohort, epochs=1), []
    out = experiment.folder(tmp_path, 0)
    write_failure(out, "out of memory")
    fit.run(experiment, cohort, 0, tmp_path, lambda now: seen.append((out / FAILED).exists()))
    assert set(seen) == {False}
    assert (out / "DONE").is_file()
    assert not (out / FAILED).exists()


def test_a_finished_run_beside_which_a_failure_was_left_loses_only_that(trained, cohort, tmp_path):
    out = shutil.copytree(trained, tiny(cohort).folder(tmp_path, 0))
    before = (out / "rows.csv").stat().st_mtime_ns
    write_failure(out, "out of memory")
    assert fit.run(tiny(cohort), cohort, 0, tmp_path) == out
    assert not (out / FAILED).exists()
    assert (out / "rows.csv").stat().st_mtime_ns == before


def test_a_run_that_cannot_start_keeps_the_reason_of_its_failure(cohort, tmp_path):
    experiment = tiny(cohort, fingerprint="0" * 16)
    out = experiment.folder(tmp_path, 0)
    write_failure(out, "out of memory")
    with pytest.raises(ValueError, match="has changed"):
        fit.run(experiment, cohort, 0, tmp_path)
    assert RunFolder(out).failure() == "out of memory"


def test_the_same_seed_gives_the_same_bits(trained, cohort, tmp_path):
    again = fit.run(tiny(cohort), cohort, 0, tmp_path)
    assert (again / "rows.csv").read_bytes() == (trained / "rows.csv").read_bytes()
    first, second = (load_weights(run / "best.safetensors")[0].state_dict() for run in (trained, again))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_number_format_and_layout_are_timed_once_and_written_down(cohort, tmp_path):
    experiment = tiny(cohort, precision="auto", memory="auto", epochs=1)
    run = fit.run(experiment, cohort, 0, tmp_path)
    resolved = yaml.safe_load((run / "experiment.yaml").read_text())["resolved"]
    assert resolved["precision"] in FABRIC
    assert resolved["memory"] in LAYOUTS
    again = recorded(run, experiment, 0, None, None, None)  # nothing is timed: there is no network
    assert again == ((resolved["precision"], resolved["memory"]), resolved["threads"])


def test_timing_leaves_the_network_as_it_was(cohort):
    timed, fresh = (seeded_model(tiny(cohort)) for _ in range(2))
    assert fastest(timed, "auto", "auto", torch.device("cpu")).precision in FABRIC
    assert all(torch.equal(a, b) for a, b in zip(timed.state_dict().values(), fresh.state_dict().values(), strict=True))
    assert fastest(timed, "float32", "contiguous", torch.device("cpu")) == ("float32", "contiguous")


@pytest.mark.parametrize("schedule", [pytest.param("constant", marks=pytest.mark.long), "one-cycle"])
def test_a_run_that_was_cut_off_ends_with_the_same_bits(cohort, tmp_path, schedule):
    experiment = tiny(cohort, schedule=schedule, optimizer="adamw", epochs=3)
    whole = fit.run(experiment, cohort, 0, tmp_path / "whole")

    with pytest.raises(CutOffError):
        fit.run(experiment, cohort, 0, tmp_path / "cut", cut_in(2))
    assert len(load_checkpoint(experiment.folder(tmp_path / "cut", 0) / "last.ckpt")["history"]) == 1
    resumed = fit.run(experiment, cohort, 0, tmp_path / "cut")
    assert (resumed / "rows.csv").read_bytes() == (whole / "rows.csv").read_bytes()
    ends = [load_checkpoint(run / "last.ckpt")["model"] for run in (whole, resumed)]
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


def test_nan_stops_the_run_and_names_the_images(cohort, tmp_path, monkeypatch):
    class Bad(WholeImageLoss):
        def per_image(self, logits, target, **context):
            return super().per_image(logits, target, **context) * torch.nan

    loss = make_loss("bce")
    monkeypatch.setattr(epochs, "make_loss", lambda spec: Bad(loss.core))
    with pytest.raises(RunError, match=r"the loss is nan in epoch 1 on the images \['phantom_"):
        fit.run(tiny(cohort, loss="bce"), cohort, 0, tmp_path)
    assert not list(tmp_path.rglob("best.safetensors"))
    assert not list(tmp_path.rglob("DONE"))


def test_a_changed_cohort_is_not_measured_in_silence(trained, cohort):
    changed = Cohort(cohort.root, cohort.table.iloc[1:], cohort.masks, cohort.licence)
    with pytest.raises(ValueError, match="has changed: its fingerprint is"):
        evaluate_run(trained, changed)


@pytest.mark.long
def test_training_lowers_the_loss_and_finds_something(cohort, tmp_path):
    experiment = tiny(cohort, loss="sm-tversky-s-a", width=4, epochs=12, schedule="one-cycle", learning_rate=2e-2)
    history = pd.read_csv(fit.run(experiment, cohort, 0, tmp_path) / "history.csv")
    assert history["loss"].iloc[-1] < 0.9 * history["loss"].iloc[0]
    assert history["val_dsc_pooled"].max() > 0  # the last epoch's is 0 with some versions of PyTorch


def test_every_loss_has_a_finite_first_step(cohort):
    from massmatch.losses import LOSSES

    network = seeded_model(tiny(cohort))
    for name in LOSSES:
        loss = make_loss(name)
        loss.fit([torch.from_numpy(cohort.load(id).mask)[None] for id in cohort.ids], [None] * len(cohort))
        batch = next(Loader(Samples(cohort, cohort.ids[:4], loss), 4, 0).epoch(0))
        value = loss(network(batch.images), batch.target, facts=batch.facts)
        assert torch.isfinite(value), name


def test_an_epoch_has_every_image_once_in_an_order_of_its_own(cohort):
    samples = Samples(cohort, cohort.ids[:9], make_loss("bce"))
    orders = [[id for batch in Loader(samples, 4, 0).epoch(epoch) for id in batch.ids] for epoch in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]
    assert len(set(orders[0])) == len(orders[0]) == 8  # a last batch of one image is left out
    for images in range(1, 12):
        some = Samples(cohort, cohort.ids[:images], make_loss("bce"))
        sizes = [len(batch.ids) for batch in Loader(some, 4, 0).epoch(0)]
        assert sizes == list(batch_sizes(images, 4))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("sm-tversky-sa", "unknown loss 'sm-tversky-sa'; did you mean 'sm-tversky-s"),
        ("tversky:smoth=1", "loss tversky has no option 'smoth'; did you mean 'smooth'"),
        ("tversky:smooth", "options are written name:option=value"),
        ("sm-bce-b-a:cell_statistic=median", "cell_statistic must be one of 'min', 'mean', 'max'"),
        ("sm-bce-b-a:scale=true", "loss sm-bce-b-a has no option 'scale'"),
        ("soft-sm:cell_size=[8,16]", "option cell_size=\\[8 cannot be read; a pair of sizes is .* a class of your own"),
    ],
)
def test_wrong_losses_are_named(spec, message):
    with pytest.raises(ValueError, match=message):
        make_loss(spec)


def test_options_follow_the_name():
    loss = make_loss("sm-tversky-s-a:cell_statistic=mean,smooth=0.1,cell_size=8x16")
    assert (loss.rule.statistic, loss.core.smooth, loss.rule.cell_size, loss.scale) == ("mean", 0.1, (8, 16), True)


def test_an_experiment_refuses_what_it_does_not_know():
    with pytest.raises(ValueError, match="lerning_rate"):
        Experiment(cohort="c", fingerprint="f", lerning_rate=1)


@pytest.mark.parametrize(
    "change",
    [lambda b: b[:-100], lambda b: b[:200] + bytes([b[200] ^ 1]) + b[201:], lambda b: b"PK nonsense"],
)
def test_a_damaged_checkpoint_is_refused(trained, tmp_path, change):
    path = tmp_path / "last.ckpt"
    path.write_bytes(change((trained / "last.ckpt").read_bytes()))
    with pytest.raises(ValueError, match=r"is damaged: its \d+ bytes|is no checkpoint of massmatch"):
        load_checkpoint(path)


@pytest.mark.long
def test_a_killed_process_goes_on_and_ends_with_the_same_bits(cohort, tmp_path):
    code = f"""
        import sys, torch
        sys.path.insert(0, "tests")
        from conftest import tiny
        from massmatch.data import open_cohort
        from massmatch.training.run import run
        cohort = open_cohort({str(cohort.root)!r})
        print(run(tiny(cohort, epochs=6), cohort, 0, __import__("pathlib").Path(sys.argv[1])), flush=True)
    """
    command = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(code)]
    whole = subprocess.run(
        [*command, str(tmp_path / "whole")], capture_output=True, text=True, check=True
    ).stdout.strip()
    killed = 0
    for wait in (0.3, 0.6, 0.9):
        options = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        with started([*command, str(tmp_path / "cut")], **options) as process:
            while not list((tmp_path / "cut").rglob("experiment.yaml")) and process.poll() is None:
                time.sleep(0.02)
            time.sleep(wait)
            killed += process.poll() is None
    assert killed
    cut = subprocess.run([*command, str(tmp_path / "cut")], capture_output=True, text=True, check=True).stdout.strip()
    assert (tmp_path / "cut").exists()
    assert (Path(cut) / "rows.csv").read_bytes() == (Path(whole) / "rows.csv").read_bytes()


def test_row_34_without_any_mass_nothing_is_trained(cohort, tmp_path):
    samples = [cohort.load(id) for id in cohort.ids]
    empty = [
        Sample(s.id, s.patient, s.image, np.zeros_like(s.instances), side=s.side, view=s.view, density=s.density)
        for s in samples
    ]
    bare = write_cohort(empty, tmp_path / "bare", reader="test", options={}, licence="")
    with pytest.raises(DataError, match=r"masks/: none of the .* training images has a mass"):
        fit.run(tiny(bare), bare, 0, tmp_path / "runs")


def test_row_34_no_epoch_is_chosen_on_images_without_mass(cohort, tmp_path):
    normal = cohort.table["id"].map(cohort.mass_fraction) == 0
    patients = list(cohort.table["patient"].unique())
    alone = cohort.table.assign(patient=cohort.table["patient"].where(~normal, "normal " + cohort.table["id"]))
    split = alone["patient"].map(lambda who: "test" if who in patients[:4] else "train").where(~normal, "validation")
    parted = Cohort(cohort.root, alone.assign(split=split), cohort.masks, cohort.licence)
    with pytest.raises(DataError, match=r"none of the .* validation images has a mass, so no epoch is better"):
        fit.run(tiny(parted, scheme="official"), parted, 0, tmp_path)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 21474836480 bytes."),
    ],
)
def test_row_56_a_batch_too_large_for_the_memory_ends_in_advice_and_not_in_a_smaller_batch(
    cohort, tmp_path, monkeypatch, error, capsys
):
    def full(self, logits, target, **context):
        raise error

    monkeypatch.setattr(WholeImageLoss, "per_image", full)
    with pytest.raises(SystemExit) as end, told():
        fit.run(tiny(cohort, loss="bce"), cohort, 0, tmp_path)
    assert end.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("massmatch: cpu has too little memory for a batch of 4 images of 64x64: take a smaller ")
    assert "--batch-size" in line
    assert not list(tmp_path.rglob("last.ckpt"))


def test_other_errors_of_pytorch_keep_their_traceback(cohort, tmp_path, monkeypatch):
    def wrong(self, logits, target, **context):
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr(WholeImageLoss, "per_image", wrong)
    with pytest.raises(RuntimeError, match="shapes do not fit"), told():
        fit.run(tiny(cohort, loss="bce"), cohort, 0, tmp_path)
