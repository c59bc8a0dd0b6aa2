"""The paper's Figure 4 in a report: contours of several losses on images that a stated rule has chosen."""

from collections.abc import Mapping

import numpy as np

from massmatch.data import Cohort
from massmatch.errors import RunError
from massmatch.pictures import KINDS, Choice, Window, chosen, mammogram_uri, outline, window
from massmatch.reports.blocks import Block, Key, Lines, Mammogram, Picture, Pictures, Words
from massmatch.reports.charts import percent
from massmatch.reports.subject import Subject, listed, threshold
from massmatch.runs.collection import Run, systems
from massmatch.runs.folder import RunFolder
from massmatch.wording import count

MOST_SHOWN = 8  # losses side by side: as many as the rows of Table 2, and what a wide screen shows in one row


def pictures(of: Subject, each: int) -> list[Block]:
    """Up to `each` images of every kind with the contours of every loss shown, or a sentence that says why there are
    none.
    """
    if of.cohort is None:
        return [Lines([f"No pictures: {of.why}."], kind="warning")]
    runs = side_by_side(of)
    shared = set.intersection(*(set(run.rows["id"]) for run in runs.values()))
    if not shared:
        return [Lines(["No pictures: the runs tested no image in common."], kind="warning")]
    choices = chosen({system: run.rows[run.rows["id"].isin(shared)] for system, run in runs.items()}, each)
    if lacking := _lacking(runs):
        return [Lines([f"No pictures: {lacking}; `massmatch evaluate` makes it again."], kind="warning")]
    try:
        rows = [_row(of.cohort, choice, runs) for choice in choices]
    except RunError as error:
        return [Lines([f"No pictures: {error}."], kind="warning")]
    first = next(iter(runs.values()))
    shown = f"seed {first.seed}, fold {first.fold}"
    left_out = [system for system in of.order if system not in runs]
    words = (
        f"Of each loss its run of {shown}, on the same {count(len(shared), 'test image')}. Nobody picked the "
        "images: each kind has its rule, below its heading. First the whole mammogram; the frame in it is what the "
        "pictures beside it show, which holds all that is true or predicted by any of these losses."
    )
    note = [Words(f"Not shown: {listed(left_out)}. Shown are {_rule(of)}.", soft=True)] if left_out else []
    return [Key(), Words(words), *note, *rows]


def _lacking(runs: Mapping[str, Run]) -> str:
    """The first run that does not say where its contours lie, or nothing."""
    silent = (run for run in runs.values() if threshold(run) is None)
    return next((f"{run.folder} says nowhere at which threshold it was measured" for run in silent), "")


def _rule(of: Subject) -> str:
    return (
        "the losses that were run on the seed and fold that most losses have, at most "
        f"{MOST_SHOWN}: the baseline {of.baseline} and those with the highest mean DSC"
    )


def side_by_side(of: Subject) -> dict[str, Run]:
    """The run of each system that is shown: of the seed and fold that most systems have (the lowest of these)."""
    by_part: dict[tuple[int, int], dict[str, Run]] = {}
    for run, system in zip(of.runs, systems(of.runs), strict=True):
        by_part.setdefault((run.seed, run.fold), {})[system] = run
    part = min(by_part, key=lambda key: (-len(by_part[key]), key))
    there = [system for system in of.order if system in by_part[part]]
    kept = there[:MOST_SHOWN]
    if of.baseline in there and of.baseline not in kept:
        kept = [*kept[:-1], of.baseline]
    return {system: by_part[part][system] for system in kept}


def _row(cohort: Cohort, choice: Choice, runs: Mapping[str, Run]) -> Pictures:
    sample = cohort.load(choice.id)
    shape = sample.mask.shape
    predictions = {system: _prediction(run, choice.id, shape) for system, run in runs.items()}
    near = window([sample.mask, *predictions.values()], shape)
    whole = Window((shape[1] - max(shape)) // 2, (shape[0] - max(shape)) // 2, max(shape))
    image = Mammogram(f"image-{choice.kind}-{choice.id}", mammogram_uri(sample.image), shape[1], shape[0])
    truth = outline(sample.mask)
    frame = near if near.side < max(shape) else None
    first = Picture(
        image.anchor, whole, truth, "", "the whole mammogram", f"{choice.id}: the mammogram with its true masses", frame
    )
    cells = [_cell(image, near, truth, system, predictions[system], runs[system], choice.id) for system in runs]
    pixels, masses = int(sample.mask.sum()), len(np.unique(sample.instances)) - 1
    facts = [f"{count(pixels, 'pixel')} of mass in {count(masses, 'mass', 'masses')}"]
    facts += [f"view {sample.view}"] if sample.view else []
    facts += [f"density ACR {sample.density}"] if sample.density else []
    title = f"{choice.kind.capitalize()}: {choice.id}"
    return Pictures(title, f"{_capital(KINDS[choice.kind])}. {', '.join(facts)}.", image, [first, *cells])


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _prediction(run: Run, id: str, shape: tuple[int, ...]) -> np.ndarray:
    """(H, W) bool, as it was measured. RunError where the file is not as it was written."""
    level = threshold(run)
    assert level is not None  # `_lacking` has looked
    return RunFolder(run.folder).prediction(id, shape) > level


def _cell(image: Mammogram, near: Window, truth: str, system: str, mask: np.ndarray, run: Run, id: str) -> Picture:
    row = run.rows[run.rows["id"] == id].iloc[0]
    if bool(row["truth_empty"]):
        result = f"{count(int(row['fp']), 'false pixel')}"
    else:
        result = f"DSC {percent(row['dsc'])} %" + (", missed" if bool(row["missed"]) else "")
    empty = "" if mask.any() else ", nothing predicted"
    says = f"{id} with the contours of the truth and of {system}: {result}{empty}"
    return Picture(image.anchor, near, truth, outline(mask), f"{system}: {result}{empty}", says)
