"""The loss bench answers with what the losses say, and takes nothing else than what its page sends."""

import base64
import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from massmatch.app import bench
from massmatch.app.runs import from_runs, to_runs
from massmatch.app.server import MOST_OF_A_QUESTION, build
from massmatch.errors import UsageError
from massmatch.explanations.placements import SIDE
from massmatch.losses import LOSSES, make_loss
from serving import client

PRESETS = {each["name"]: each for each in bench.presets()}
SHAPE = (SIDE, SIDE)


def question(losses, preset="a left", **changes):
    masks = {name: PRESETS[preset][name] for name in ("truth", "prediction")}
    return {**masks, "certainty": 0.9, "doubt": 0.1, "blur": 0, "losses": losses, **changes}


def answered(loss, **changes):
    (told,) = bench.answer(question([loss], **changes))["losses"]
    return told


def tensors(preset="a left"):
    prediction, truth = (from_runs(PRESETS[preset][name], SHAPE) for name in ("prediction", "truth"))
    return torch.from_numpy(0.1 + 0.8 * prediction)[None, None], torch.from_numpy(truth)[None, None]


@given(st.lists(st.booleans(), min_size=6, max_size=6))
def test_runs_hold_a_mask(values):
    mask = np.array(values).reshape(2, 3)
    np.testing.assert_array_equal(from_runs(to_runs(mask), (2, 3)), mask)


@pytest.mark.parametrize("name", ["bce", "sm-bce-sd-nz", "soft-sm", "tversky", "boundary"])
def test_the_value_is_that_of_the_loss(name):
    p, truth = tensors()
    expected = make_loss(name, from_logits=False)(p, truth).item()
    assert answered(name)["value"] == pytest.approx(expected, rel=1e-6)


def test_the_gradient_is_that_by_the_logits_of_what_trains():
    p, truth = tensors()
    logits = p.logit().requires_grad_()
    make_loss("sm-bce-sd-nz")(logits, truth).backward()
    told = answered("sm-bce-sd-nz")
    found = np.frombuffer(base64.b64decode(told["gradient"]), np.int8).reshape(SHAPE) * told["steepest"] / 127
    np.testing.assert_allclose(found, logits.grad[0, 0].numpy(), atol=told["steepest"] / 127)


@pytest.mark.parametrize("name", ["sm-bce-sd-nz", "soft-sm:random_phase=true"])
def test_the_cells_add_up_to_the_loss(name):
    told = answered(name, blur=2)
    assert told["image"] + told["grid_weight"] * told["ratio"] * told["grid"] == pytest.approx(told["value"])
    cells = told["cells"]
    assert sum(cells["term"]) == pytest.approx(told["grid"])
    assert sum(cells["share_of_gradient_by_logit"]) == pytest.approx(1)
    assert {len(column) for column in cells.values()} == {len(cells["top"])}


def test_every_loss_of_the_catalogue_is_answered_or_refused_in_words():
    for name in LOSSES:
        told = answered(name, preset="missed", blur=1)
        assert ("error" in told) != ("value" in told), name
        assert len(told.get("error", "a line").splitlines()) == 1
        json.dumps(told, allow_nan=False)


def test_the_pairs_are_those_of_the_figure():
    for pair in "abc":
        left, right = (tensors(f"{pair} {half}") for half in ("left", "right"))
        assert answered("bce", preset=f"{pair} left")["value"] == pytest.approx(
            answered("bce", preset=f"{pair} right")["value"]
        )
        assert not (torch.equal(left[0], right[0]) and torch.equal(left[1], right[1]))


def test_a_link_runs_no_code(tmp_path, monkeypatch):
    (tmp_path / "planted.py").write_text("raise SystemExit('it was run')")
    monkeypatch.syspath_prepend(tmp_path)
    for text in ("planted:Loss", "planted:Loss:gamma=2"):
        assert "not run on this page" in answered(text)["error"]
    assert "did you mean 'bce'" in answered("bcee")["error"]
    assert "error" in answered("sm-bce-s-a:core=planted:Loss")


@pytest.mark.parametrize(
    "change",
    [
        {"truth": [5]},
        {"truth": [SIDE * SIDE, -1, 1]},
        {"truth": [True] * SIDE * SIDE},
        {"truth": "x"},
        {"prediction": None},
        {"certainty": 2},
        {"certainty": True},
        {"doubt": "0.1"},
        {"blur": float("nan")},
        {"blur": 1e9},
        {"losses": "bce"},
        {"losses": ["bce"] * 5},
        {"losses": ["b" * 201]},
        {"losses": [1]},
    ],
    ids=str,
)
def test_hostile_questions_are_refused_in_words(change):
    with pytest.raises(UsageError):
        bench.answer(question(["bce"]) | change)
    answer = client(build()).post("/api/bench", content=json.dumps(question(["bce"]) | change))
    assert answer.status_code == 400
    assert answer.json()["error"]


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 100_000, b"3", b"null"], ids=lambda text: str(text[:5]))
def test_what_is_no_question_is_refused_in_words(content):
    answer = client(build()).post("/api/bench", content=content)
    assert (answer.status_code, list(answer.json())) == (400, ["error"])


def test_a_question_that_is_too_large_is_not_read():
    sent = []

    def chunks():
        for _ in range(40):
            sent.append(1)
            yield b" " * (MOST_OF_A_QUESTION // 10)

    answer = client(build()).post("/api/bench", content=chunks())
    assert answer.status_code == 413
    assert "MB" in answer.json()["error"]
