"""Numbers that are none: found before they are learned, told by name, never the best."""

import math
import platform
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image

from conftest import tiny
from massmatch.data import DataError, Sample, open_cohort, write_cohort
from massmatch.errors import RunError
from massmatch.losses import LOSSES, SpatialMatchingLoss, WholeImageLoss, make_loss
from massmatch.runs import precision
from massmatch.runs.checkpoint import load_checkpoint
from massmatch.runs.history import best_so_far, write_history
from massmatch.runs.precision import Speed
from massmatch.training import loop as epochs
from massmatch.training import run as fit
from massmatch.training import step as steps
from massmatch.training.batches import Loader, Samples


def test_row_18_a_nan_pixel_is_an_error_with_the_files_name_before_any_epoch(cohort, tmp_path):
    for folder in ("images", "masks"):
        (tmp_path / "data" / folder).mkdir(parents=True)
    for id in cohort.ids:
        Image.fromarray(cohort.load(id).image).save(tmp_path / "data/images" / f"{id}.png")
        Image.fromarray(cohort.load(id).mask.astype(np.uint8) * 255).save(tmp_path / "data/masks" / f"{id}.png")
    (tmp_path / "data/images" / f"{cohort.ids[0]}.png").unlink()
    pixels = cohort.load(cohort.ids[0]).image.astype(np.float32)
    pixels[3, 5] = np.nan
    Image.fromarray(pixels).save(tmp_path / "data/images" / f"{cohort.ids[0]}.tif")
    cohort.table[["id", "patient"]].to_csv(tmp_path / "data/samples.csv", index=False)
    opened = open_cohort(tmp_path / "data")
    with pytest.raises(DataError, match=rf"{cohort.ids[0]}\.tif: must have 8 or 16 bits, but has float32: convert it"):
        fit.run(tiny(opened), opened, 0, tmp_path / "runs")
    assert not list(tmp_path.rglob("last.ckpt"))


class Spoiled(WholeImageLoss):
    """BCE that is spoiled from the n-th call on: its value, or only the gradient that it sends back."""

    def __init__(self, core, *, value=1.0, gradient=1.0, call=1, times=10**9):
        super().__init__(core)
        self.value, self.gradient, self.calls = value, gradient, range(call, call + times)
        self.call = 0

    def per_image(self, logits, target, **context):
        self.call += 1
        if self.call not in self.calls:
            return super().per_image(logits, target, **context)
        if logits.requires_grad and self.gradient != 1:
            logits.register_hook(lambda gradient: gradient * self.gradient)
        return super().per_image(logits, target, **context) * self.value


def spoiling(monkeypatch, **how):
    core = make_loss("bce").core
    monkeypatch.setattr(epochs, "make_loss", lambda spec: Spoiled(core, **how))


def batches_of(cohort, epoch):
    parts = epochs.parts_of(tiny(cohort), cohort, 0)
    return [batch.ids for batch in Loader(Samples(cohort, parts.train, make_loss("bce")), 4, 0).epoch(epoch)]


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_row_19_a_loss_of_nan_stops_the_run_with_the_ids_and_spoils_no_checkpoint(
    cohort, tmp_path, monkeypatch, precision
):
    first, second = batches_of(cohort, 0), batches_of(cohort, 1)
    spoiling(monkeypatch, value=math.nan, call=len(first) + 2)
    experiment = tiny(cohort, loss="bce", precision=precision)
    with pytest.raises(RunError) as told:
        fit.run(experiment, cohort, 0, tmp_path)
    assert str(told.value) == f"the loss is nan in epoch 2 on the images {second[1]}"
    state = load_checkpoint(experiment.folder(tmp_path, 0) / "last.ckpt")  # which looks at its weights
    assert len(state["history"]) == 1


@pytest.mark.parametrize("factor", [math.nan, math.inf])
def test_row_19_so_does_a_gradient_that_is_none_behind_a_finite_loss(cohort, tmp_path, monkeypatch, factor):
    spoiling(monkeypatch, gradient=factor, call=2)
    with pytest.raises(RunError) as told:
        fit.run(tiny(cohort, loss="bce"), cohort, 0, tmp_path)
    assert str(told.value).startswith("the gradient of encoder.")
    assert str(told.value).endswith(f" is not finite in epoch 1 on the images {batches_of(cohort, 0)[1]}")
    assert not list(tmp_path.rglob("last.ckpt"))


def test_row_20_one_gradient_that_overflows_in_float16_is_skipped_and_counted(cohort, tmp_path, monkeypatch):
    experiment = tiny(cohort, loss="bce", precision="float16", schedule="one-cycle")
    spoiling(monkeypatch)
    by_itself = pd.read_csv(fit.run(experiment, cohort, 0, tmp_path / "plain") / "history.csv")["skipped_steps"].sum()
    spoiling(monkeypatch, gradient=math.inf, call=4, times=1)
    out = fit.run(experiment, cohort, 0, tmp_path / "spoiled")
    assert pd.read_csv(out / "history.csv")["skipped_steps"].tolist() == [by_itself + 1, 0]
    assert load_checkpoint(out / "last.ckpt")["scaler"]["scale"] == 2.0 ** (16 - by_itself - 1)  # halved each time


@pytest.mark.long
def test_row_20_a_scale_below_1_for_twenty_steps_ends_the_run(cohort, tmp_path, monkeypatch):
    spoiling(monkeypatch, gradient=math.inf)
    experiment = tiny(cohort, loss="bce", precision="float16", epochs=9)
    with pytest.raises(RunError, match=r"float16 overflows even .* for 20 steps, the last .* on the images \['"):
        fit.run(experiment, cohort, 0, tmp_path)
    skipped = sum(
        row["skipped_steps"] for row in load_checkpoint(experiment.folder(tmp_path, 0) / "last.ckpt")["history"]
    )
    assert skipped <= 17 + steps.PATIENCE  # 2^16 is halved 17 times until it is below 1


def blind(monkeypatch, *numbers):
    """The network gives NaN in the validation of these epochs."""
    see, validate, at = epochs.probabilities, epochs.validated, [0]

    def validated(*arguments):
        at[0] += 1
        return validate(*arguments)

    def probabilities(*arguments):
        return see(*arguments) * (np.float32(np.nan) if at[0] in numbers else np.float32(1))

    monkeypatch.setattr(epochs, "validated", validated)
    monkeypatch.setattr(epochs, "probabilities", probabilities)


def test_row_21_an_epoch_without_numbers_is_never_the_best(cohort, tmp_path, monkeypatch):
    blind(monkeypatch, 1)
    with pytest.warns(UserWarning, match=r"no numbers on the validation images \['phantom_.*: this epoch is never"):
        out = fit.run(tiny(cohort), cohort, 0, tmp_path)
    history = pd.read_csv(out / "history.csv")
    assert history["val_dsc_pooled"].isna().tolist() == [True, False]
    assert best_so_far(load_checkpoint(out / "last.ckpt")["history"]) == history["val_dsc_pooled"][1]


def test_row_21_without_any_number_there_is_no_run(cohort, tmp_path, monkeypatch):
    blind(monkeypatch, 1, 2)
    with (
        pytest.warns(UserWarning, match="no numbers on the validation images"),
        pytest.raises(RunError, match=r"no epoch of .* gave numbers on the validation part"),
    ):
        fit.run(tiny(cohort), cohort, 0, tmp_path)
    assert not list(tmp_path.rglob("best.safetensors"))


def test_row_21_json_lines_know_no_nan(tmp_path):
    write_history(tmp_path, [{"epoch": 1, "val_dsc_pooled": math.nan}])
    assert (tmp_path / "history.jsonl").read_text() == '{"epoch": 1, "val_dsc_pooled": null}\n'


def squares(*sides, size=64):
    masks = torch.zeros(len(sides), 1, size, size, dtype=torch.bool)
    for mask, side in zip(masks, sides, strict=True):
        mask[0, 2 : 2 + side, 2 : 2 + side] = True
    return masks


def learned(name):
    loss = make_loss(name)
    loss.fit(list(squares(3, 9, 20, 40)), [1, 2, 3, 4])
    loss.set_epoch(1, 2)
    return loss


@pytest.mark.parametrize("name", LOSSES)
def test_row_22_empty_masks_leave_a_finite_loss_that_lowers_false_positives(name):
    loss, empty = learned(name), squares(0, 0)
    logits = torch.full((2, 1, 64, 64), -6.0)
    logits[..., 10:30, 10:30] = 2
    logits.requires_grad_()
    value = loss(logits, empty, facts=loss.facts(empty, density=[1, 2]))
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(logits.grad).all()
    assert logits.grad[..., 10:30, 10:30].sum() > 0  # a step against it makes them less


def variants():
    return [name for name in LOSSES if name.startswith("sm-")]


@pytest.mark.parametrize("name", variants())
@pytest.mark.parametrize("side", [1, 256], ids=["one pixel", "the whole image"])
def test_row_23_masses_of_one_pixel_and_of_the_whole_image_are_finite(name, side):
    mask = torch.zeros(1, 1, 256, 256, dtype=torch.bool)
    mask[..., :side, :side] = True
    logits = torch.randn(1, 1, 256, 256, generator=torch.Generator().manual_seed(0), requires_grad=True)
    loss = make_loss(name)
    value = loss(logits, mask)
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(logits.grad).all()
    assert loss.explain(logits, mask).cell_size == ((4, 4) if side == 1 else (256, 256))


@pytest.mark.parametrize("side", [1, 256])
def test_row_23_the_plain_variant_is_twice_bce_there(side):
    mask = torch.zeros(1, 1, 256, 256)
    mask[..., :side, :side] = 1
    loss = SpatialMatchingLoss(core="bce")
    assert loss(torch.zeros(1, 1, 256, 256), mask).item() == pytest.approx(2 * math.log(2), rel=1e-6)
    assert loss(torch.zeros(1, 1, 256, 256), mask * 0).item() == pytest.approx(2 * math.log(2), rel=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_row_24_logits_of_ten_thousand_are_finite_in_every_number_format(name):
    loss, target = learned(name), squares(3, 20)
    facts = loss.facts(target, density=[1, 2])
    for kind in (torch.float32, torch.bfloat16, torch.float16):
        logits = torch.full((2, 1, 64, 64), 1e4, dtype=kind)
        logits[:, :, ::2] *= -1
        logits.requires_grad_()
        value = loss(logits, target, facts=facts)
        value.backward()
        assert torch.isfinite(value), kind
        assert torch.isfinite(logits.grad).all(), kind


def test_row_24_an_infinite_output_names_the_layer_it_came_from(cohort, tmp_path, monkeypatch):
    make = epochs.make_model

    def burst(*arguments):
        model = make(*arguments)
        torch.nn.init.constant_(model.encoder[1].first[0].bias, math.inf)
        return model

    monkeypatch.setattr(epochs, "make_model", burst)
    with pytest.raises(RunError) as told:
        fit.run(tiny(cohort), cohort, 0, tmp_path)
    assert str(told.value).startswith("the network's output is not finite in epoch 1 on the images ['phantom_")
    assert str(told.value).endswith(": the first layer is encoder.1.first.0 (Conv2d)")


def test_row_25_an_even_image_is_0_and_warned_of_by_name(cohort, tmp_path):
    samples = [cohort.load(id) for id in cohort.ids]
    s = samples[4]
    samples[4] = Sample(s.id, s.patient, np.full_like(s.image, 77), s.instances, side=s.side, view=s.view)
    even = write_cohort(samples, tmp_path / "even", reader="test", options={}, licence="")
    for normalise in ("min-max", "z-score"):
        with pytest.warns(UserWarning, match=rf"images of a single grey level, which a network sees as 0: {s.id}$"):
            some = Samples(even, even.ids[:6], make_loss("bce"))
        some.normalise = normalise
        assert torch.equal(some[4][0], torch.zeros(1, 64, 64))


def test_row_26_samples_are_the_same_for_any_number_of_workers(cohort):
    loss = make_loss("sm-tversky-sd-nz")
    samples = Samples(cohort, cohort.ids[:11], loss)
    one, other = (
        [batch for epoch in (0, 1) for batch in loader.epoch(epoch)]
        for loader in (Loader(samples, 4, 0), Loader(samples, 4, 0, workers=2))
    )
    assert len(one) == len(other) == 6
    for a, b in zip(one, other, strict=True):
        assert a.ids == b.ids
        assert torch.equal(a.images, b.images)
        assert torch.equal(a.target, b.target)
        assert all(torch.equal(x[k], y[k]) for x, y in zip(a.facts, b.facts, strict=True) for k in x)


def test_row_26_so_is_the_whole_run(cohort, trained, tmp_path):
    out = fit.run(tiny(cohort), cohort, 0, tmp_path, workers=2)
    assert (out / "rows.csv").read_bytes() == (trained / "rows.csv").read_bytes()


CPU = torch.device("cpu")
DEFAULT, LAID, SHORT, BOTH = (Speed(p, m) for p in ("float32", "bfloat16") for m in ("contiguous", "channels-last"))


def test_a_processor_without_instructions_for_bfloat16_takes_it_only_when_asked(cohort, tmp_path, monkeypatch):
    monkeypatch.setattr(precision, "has_bfloat16", lambda device: False)
    assert precision.allowed("auto", "auto", CPU) == [DEFAULT, LAID]
    assert precision.allowed("bfloat16", "contiguous", CPU) == [SHORT]
    timed = lambda ways, *_, **__: {way: 1 / (1 + ways.index(way)) for way in ways}  # noqa: E731
    monkeypatch.setattr(precision, "seconds_of", timed)
    run = fit.run(tiny(cohort, precision="auto", memory="auto", epochs=1), cohort, 0, tmp_path)
    assert yaml.safe_load((run / "experiment.yaml").read_text())["resolved"]["precision"] == "float32"
    monkeypatch.setattr(precision, "has_bfloat16", lambda device: True)
    assert precision.allowed("auto", "auto", CPU) == [DEFAULT, LAID, SHORT, BOTH]


@pytest.mark.parametrize(
    ("machine", "avx", "amx", "onednn", "expected"),
    [
        ("x86_64", False, False, True, False),  # any AVX-512, with which oneDNN imitates it
        ("x86_64", True, False, True, True),
        ("AMD64", False, True, True, True),
        ("aarch64", False, False, True, True),
        ("aarch64", False, False, False, False),
    ],
)
def test_what_pytorch_says_of_a_processor_is_read_right(monkeypatch, machine, avx, amx, onednn, expected):
    monkeypatch.setattr(precision.platform, "machine", lambda: machine)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: onednn)
    assert precision.has_bfloat16(CPU) is expected
    assert not precision.has_bfloat16(torch.device("mps"))


@pytest.mark.skipif(platform.machine() != "x86_64" or not Path("/proc/cpuinfo").is_file(), reason="needs x86 Linux")
def test_this_processor_has_bfloat16_if_the_system_says_so():
    flags = set(re.findall(r"^flags\s*:(.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)[0].split())
    assert precision.has_bfloat16(CPU) == bool(flags & {"avx512_bf16", "amx_bf16"})


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ((1.0, 0.95, 0.92, 0.91), DEFAULT),  # none is faster by a tenth
        ((1.0, 0.9, 0.85, 0.83), LAID),  # and those that are hardly faster than it change more
        ((1.0, 1.2, 0.5, 0.47), SHORT),
        ((1.0, 0.9, 0.8, 0.4), BOTH),
        ((1.0, 10.0, 10.0, 10.0), DEFAULT),
    ],
)
def test_another_way_than_the_default_must_be_worth_it(seconds, expected):
    assert precision.preferred(dict(zip((DEFAULT, LAID, SHORT, BOTH), seconds, strict=True))) == expected


def test_ways_are_timed_in_turns_and_one_slow_moment_decides_nothing(monkeypatch):
    order, slow = [], iter([9.0] * 4 + [1.0, 50.0, 1.0, 1.0])  # to warm up; then the machine stalls once

    def step(model, way, images):
        order.append(way)
        return next(slow, 1.0)

    monkeypatch.setattr(precision, "_step", step)
    ways = [DEFAULT, LAID, SHORT, BOTH]
    assert precision.seconds_of(ways, torch.nn.Identity(), CPU, 8) == dict.fromkeys(ways, 1.0)
    assert order == ways * (1 + precision.ROUNDS)


def test_a_decision_that_the_experiment_forbids_is_refused(cohort, tmp_path):
    with pytest.raises(
        ValueError, match=r"speed: must fit the experiment's \(float32, contiguous\), but is \(bfloat16"
    ):
        fit.run(tiny(cohort), cohort, 0, tmp_path, speed=SHORT)
    assert not list(tmp_path.iterdir())
