"""Trained weights measured again: those of a run on its test part, or any weights on all images of another cohort."""

import math
import warnings
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from massmatch.data import Cohort, open_cohort
from massmatch.data.errors import named
from massmatch.errors import UsageError
from massmatch.hold import held
from massmatch.inference.ensemble import load_ensemble
from massmatch.inference.network import refuse_unused, settle_orientation
from massmatch.runs.atomic import remove_leftovers
from massmatch.runs.experiment import Experiment, parts_of
from massmatch.runs.folder import DONE, EXPERIMENT, NATIVE_ROWS, PREDICTIONS, ROWS, WEIGHTS, RunFolder, read_table
from massmatch.runs.lock import locked
from massmatch.training.evaluate import evaluate, evaluate_native, evaluate_run, evaluate_run_native, write_rows
from massmatch.training.progress import Progress, Watch
from massmatch.training.start import lineage


class Evaluation(NamedTuple):
    """The rows of metrics, one per image, and the file that they were written to."""

    path: Path
    rows: pd.DataFrame


def evaluate_weights(
    weights: Path,
    cohort: Path | None = None,
    out: Path | None = None,
    *,
    native: bool = False,
    own: Collection[str] = (),
    watch: Watch = lambda progress: None,
) -> Evaluation:
    """Measure a run's weights again on its test part, or, with `out`, on every image of another cohort.

    Args:
        weights: the folder of a run; with `out` also a weights file.
        cohort: a prepared cohort, or a folder with images/ and masks/; by default that of the run.
        out: the folder of what is measured on another cohort; by default the run's own.
        native: compare masks in the frame in which images were before they were prepared (`evaluate_native`).
        own: networks of one's own, `module:Class`, that the weights may be of (`load_weights`).
        watch: called after each image.

    Raises UsageError where weights, cohort and `out` do not fit together, HeldError for a run that is being trained,
    and as `evaluate_run` and `load_network` do.
    """
    if weights.is_file() and out is None:
        raise UsageError(f"{weights} is a file: for weights give --out DIR, the folder for what is measured")
    if weights.is_file() and cohort is None:
        raise UsageError(f"{weights} does not say on which images to measure it: give COHORT behind it")
    if out is not None and (out / EXPERIMENT).is_file():
        raise UsageError(f"--out: {out} is a run, whose results would be lost: give another folder")
    path = weights if weights.is_file() else RunFolder.find(weights).path
    opened = open_cohort(cohort or RunFolder(path).cohort())
    if out is not None:
        return _evaluate_all(path, opened, out, native=native, own=own, watch=watch)
    refuse_unused(own, [RunFolder(path).experiment()["model"]])
    warn_of_unfinished(RunFolder(path))
    with locked(path):  # a training that ended meanwhile would be left with the rows of earlier weights
        remove_leftovers(path, path / PREDICTIONS)
        if native:
            return Evaluation(path / NATIVE_ROWS, evaluate_run_native(path, opened, watch))
        return Evaluation(path / ROWS, evaluate_run(path, opened, watch))


def _evaluate_all(
    path: Path, cohort: Cohort, out: Path, *, native: bool, own: Collection[str], watch: Watch
) -> Evaluation:
    """Every image of a cohort, turned and scaled as the network has learnt it."""
    model, facts = load_ensemble([path], own)
    of = {"weights": str(facts["algorithm"]), "cohort": cohort.fingerprint}
    _refuse_what_differs(out, cohort, of)
    facts = settle_orientation(facts)
    for _, learned in lineage(path if path.is_file() else path / WEIGHTS):
        warn_of_known_images(learned, cohort)
    warn_of_other_preparation(facts, cohort)
    threshold, tick = facts["threshold"], _ticking(watch, len(cohort))
    learnt = {"orientation": facts["orientation"], "normalise": facts["normalise"]}
    out.mkdir(parents=True, exist_ok=True)
    with held(out, out / ".lock"):
        _refuse_what_differs(out, cohort, of)  # again: another process may have written it meanwhile
        remove_leftovers(out, out / PREDICTIONS)
        if native:
            rows = evaluate_native(model, cohort, cohort.ids, threshold, **learnt, tick=tick)
            write_rows(out / NATIVE_ROWS, rows := rows.assign(**of))
            return Evaluation(out / NATIVE_ROWS, rows)
        found = evaluate(model, cohort, cohort.ids, threshold, **learnt, out=out / PREDICTIONS, tick=tick)
        found = found._replace(rows=found.rows.assign(**of))
        found.write(out)
    return Evaluation(out / ROWS, found.rows)


def _refuse_what_differs(out: Path, cohort: Cohort, of: dict[str, str]) -> None:
    """UsageError where a folder holds what was measured on images that the cohort does not have, or with other weights,
    or on another cohort: it would stand beside what is measured now, as if both belonged together.

    `of`: what the rows say of themselves; weights are known by their SHA-256, whatever their file is called.
    """
    tables = [read_table(out / name, ("id",)) for name in (ROWS, NATIVE_ROWS) if (out / name).is_file()]
    drawn = {path.stem for path in (out / PREDICTIONS).glob("*.png")}
    told = {f"images that {cohort.root} does not have": drawn.union(*(table["id"] for table in tables)) - {*cohort.ids}}
    for name, here in of.items():
        said = {one for table in tables for one in table.get(name, ["one of an earlier version"])}
        told[f"other {name}"] = {one for one in said if one.split()[-1] != here.split()[-1]}
    for what, others in told.items():
        if others:
            raise UsageError(
                f"--out: {out} holds an evaluation of {what} ({named(others)}): give another folder, or remove this one"
            )


def warn_of_unfinished(run: RunFolder) -> None:
    """Warn of a run that is not done: its weights are the best so far, and those of its end may be others.

    Not of one that is running, which is refused. Raises UsageError for one that has no weights.
    """
    state, reason = run.state_and_reason()
    is_so = f"{state}{reason and f' ({reason})'}"
    if state != "running" and not (run / WEIGHTS).is_file():
        raise UsageError(f"{run.path} has no weights: it is {is_so}")
    if state != "running" and not (run / DONE).is_file():
        warnings.warn(f"{run.path} is {is_so}: measured are its best weights so far", stacklevel=3)


def warn_of_known_images(facts: dict[str, Any], cohort: Cohort) -> None:
    """Warn where the network has learned from images of this cohort, or its epoch and threshold were chosen on them.

    A cohort is known by its fingerprint: images that were copied into another one are not noticed.
    """
    made, fold = facts["experiment"], facts.get("fold")
    if made.get("fingerprint") != cohort.fingerprint:
        return
    known = "some" if fold is None else f"{len(cohort) - len(parts_of(Experiment(**made), cohort, fold).test)}"
    warnings.warn(
        f"this is the cohort that the network was trained on: {known} of these {len(cohort)} images it has learned "
        "from, or its epoch and threshold were chosen on them, so the numbers say little about new images; "
        "`massmatch evaluate RUN`, without --out, measures its test part alone",
        stacklevel=3,
    )


def warn_of_other_preparation(facts: dict[str, Any], cohort: Cohort) -> None:
    """Warn where images have another size than the network's training images, or were known to be prepared otherwise.

    Not of the side of the chest wall and of the scaling of greys, in which images are brought to what was learnt.
    """
    learnt, own = facts["preprocessing"] or {}, cohort.preprocessing
    here = {} if own is None else own.model_dump(mode="json")
    compared = ("crop", "pectoral", "range")
    told = {name: (here[name], learnt[name]) for name in compared if name in here and name in learnt}
    if learnt.get("size") != "native":
        shown, wanted = ("x".join(map(str, each)) for each in (cohort.load(cohort.ids[0]).image.shape, facts["size"]))
        told["size"] = (shown, wanted)
    if told := {name: pair for name, pair in told.items() if pair[0] != pair[1]}:
        said = ", ".join(f"{name} {found} instead of {wanted}" for name, (found, wanted) in told.items())
        warnings.warn(
            f"{cohort.root} was prepared otherwise than the images that the network was trained on ({said}), so it may "
            "do worse than it could: prepare these images alike",
            stacklevel=3,
        )


def _ticking(watch: Watch, images: int) -> Callable[[], None]:
    """What tells `watch` that one more of so many images is done; it is no training, so that there is one epoch."""
    counted = iter(range(1, images + 1))
    return lambda: watch(Progress("test", next(counted), images, 1, 1, math.nan, math.nan))
