"""Weights measured on another cohort: images are scaled as was learnt, and what makes the numbers mislead is said."""

import hashlib
import shutil
from contextlib import contextmanager

import pytest

from conftest import tiny
from massmatch.data import Cohort
from massmatch.data.preprocessing.frame import Preprocessing
from massmatch.errors import UsageError
from massmatch.inference import evaluation
from massmatch.inference.evaluation import evaluate_weights, warn_of_known_images, warn_of_other_preparation
from massmatch.runs.atomic import part_of
from massmatch.runs.experiment import parts_of
from massmatch.runs.failure import write_failure
from massmatch.runs.lock import HeldError, locked
from massmatch.runs.weights import load_weights, read_weights, save_weights, write_weights
from massmatch.training.evaluate import evaluate, evaluate_run


def prepared(cohort, **how):
    """The same images, said to be prepared in this way."""
    return Cohort(cohort.root, cohort.table, cohort.masks, cohort.licence, Preprocessing(**how))


def test_images_are_scaled_as_the_weights_say_and_not_as_the_cohort_says(trained, cohort, tmp_path):
    """A network of z-scores was handed images between 0 and 1 in silence."""
    model, _ = load_weights(trained / "best.safetensors")
    wanted = prepared(cohort, normalise="z-score", size=(64, 64))
    save_weights(tmp_path / "w.safetensors", model, tiny(wanted), 0.5, (64, 64), wanted)
    found = evaluate_weights(tmp_path / "w.safetensors", cohort.root, tmp_path / "out").rows
    expected = evaluate(model, wanted, cohort.ids, 0.5).rows
    assert found["tp"].tolist() == expected["tp"].tolist()
    assert found["tp"].tolist() != evaluate(model, cohort, cohort.ids, 0.5).rows["tp"].tolist()


def test_images_that_are_scaled_otherwise_make_another_cohort(cohort):
    """A run on min-max images was taken for that on z-scores, since the files are the same."""
    usual, other = prepared(cohort), prepared(cohort, normalise="z-score")
    assert usual.fingerprint == cohort.fingerprint != other.fingerprint


def test_images_that_were_learned_from_are_counted(trained, cohort, tmp_path):
    known = len(cohort) - len(parts_of(tiny(cohort), cohort, 0).test)
    with pytest.warns(UserWarning, match=f"{known} of these {len(cohort)} images it has learned from"):
        evaluate_weights(trained, cohort.root, tmp_path)
    facts = load_weights(trained / "best.safetensors")[1]
    with pytest.warns(UserWarning, match=f"some of these {len(cohort)} images"):  # weights of earlier versions
        warn_of_known_images({**facts, "fold": None}, cohort)
    warn_of_known_images({**facts, "experiment": {**facts["experiment"], "fingerprint": "0"}}, cohort)


def test_images_that_the_weights_at_its_start_learned_from_are_told(trained, cohort, tmp_path):
    first = trained / "best.safetensors"
    facts, tensors = read_weights(first)
    started = {"start": str(first), "start_sha256": hashlib.sha256(first.read_bytes()).hexdigest()}
    experiment = {**facts["experiment"], **started, "fingerprint": "another"}
    write_weights(tmp_path / "w.safetensors", tensors, {**facts, "experiment": experiment})
    with pytest.warns(UserWarning, match="this is the cohort that the network was trained on"):
        evaluate_weights(tmp_path / "w.safetensors", cohort.root, tmp_path / "out")


@pytest.mark.parametrize(
    ("learnt", "size", "said"),
    [
        (Preprocessing(size=(128, 64)), [128, 64], r"\(size 64x64 instead of 128x64\)"),
        (Preprocessing(size=(64, 64), crop="breast"), [64, 64], r"\(crop none instead of breast\)"),
        (Preprocessing(size=(64, 64), range="min-max", pectoral="suppress"), [64, 64], "pectoral keep .* range breast"),
        (None, [32, 32], r"\(size 64x64 instead of 32x32\)"),
        (Preprocessing(size=(64, 64), flip="right", normalise="z-score", bits=16), [64, 64], None),
        (Preprocessing(size="native"), [128, 64], None),
        (None, [64, 64], None),
    ],
    ids=str,
)
def test_images_that_were_prepared_otherwise_are_told(cohort, learnt, size, said):
    facts = {"preprocessing": None if learnt is None else learnt.model_dump(mode="json"), "size": size}
    if said is None:
        warn_of_other_preparation(facts, prepared(cohort, size=(64, 64)))
        return
    with pytest.warns(UserWarning, match=said):
        warn_of_other_preparation(facts, prepared(cohort, size=(64, 64)))


def test_weights_of_another_fold_are_not_measured_as_a_runs_own(trained, cohort, tmp_path):
    """Images that the network has learned from would be its test part."""
    run = tmp_path / "run" / "fold0"
    shutil.copytree(trained, run)
    model, facts = load_weights(run / "best.safetensors")
    experiment = tiny(cohort)
    assert facts["fold"] == 0
    save_weights(run / "best.safetensors", model, experiment, facts["threshold"], (64, 64), cohort, 1)
    with pytest.raises(UsageError, match=r"is of another run: fold should be 0 but is 1"):
        evaluate_run(run, cohort)
    save_weights(run / "best.safetensors", model, experiment, facts["threshold"], (64, 64), cohort)  # of an old version
    evaluate_run(run, cohort)


@pytest.mark.parametrize("native", [False, True])
def test_a_run_that_failed_before_its_first_epoch_has_no_weights_to_measure(trained, cohort, tmp_path, native):
    """It was told first that its best weights so far are measured. A warning would be an error here."""
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    (run / "DONE").unlink()
    (run / "best.safetensors").unlink()
    write_failure(run, "out of memory")
    with pytest.raises(UsageError, match=r"run has no weights: it is failed \(out of memory\)"):
        evaluate_weights(run, cohort.root, native=native)


@pytest.mark.parametrize("native", [False, True])
def test_a_run_that_is_being_trained_is_not_measured_meanwhile(trained, cohort, tmp_path, native):
    """Its end would have been left with rows of earlier weights, and DONE beside them."""
    shutil.copytree(trained, tmp_path / "run")
    (tmp_path / "run/DONE").unlink()
    before = (tmp_path / "run/rows.csv").stat().st_mtime_ns
    with locked(tmp_path / "run"), pytest.raises(HeldError, match=f"{tmp_path}/run is in use: process .* wait for it"):
        evaluate_weights(tmp_path / "run", cohort.root, native=native)
    assert (tmp_path / "run/rows.csv").stat().st_mtime_ns == before
    assert not (tmp_path / "run/rows_native.csv").exists()


@pytest.mark.filterwarnings("always:this is the cohort that the network was trained on")
@pytest.mark.parametrize("apart", [False, True])
def test_what_an_evaluation_left_that_was_killed_is_removed_by_the_next(trained, cohort, tmp_path, apart):
    run, out = tmp_path / "run", tmp_path / "out" if apart else tmp_path / "run"
    shutil.copytree(trained, run)
    (out / "predictions").mkdir(parents=True, exist_ok=True)
    left = [part_of(out / "rows.csv"), part_of(out / "predictions/a.png")]
    for path in left:
        path.write_bytes(b"half")
    evaluate_weights(run, cohort.root, out if apart else None)
    assert not any(path.exists() for path in left)


@pytest.mark.filterwarnings("always:this is the cohort that the network was trained on")
def test_an_evaluation_that_another_process_has_just_ended_is_not_written_over(trained, cohort, tmp_path, monkeypatch):
    """It ended between the look at the folder and the hold, so that rows of two networks stood in one folder."""
    out = tmp_path / "out"

    @contextmanager
    def after_another(folder, lock):
        (out / "rows.csv").write_text(f"id,weights,cohort\n{cohort.ids[0]},another 0,{cohort.fingerprint}\n")
        yield

    monkeypatch.setattr(evaluation, "held", after_another)
    with pytest.raises(UsageError, match="holds an evaluation of other weights"):
        evaluate_weights(trained, cohort.root, out, native=True)
