"""The model card of the packaged network, as text: made by `package_weights.py` from the run and its test images."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from massmatch.data import Cohort, Split
from massmatch.metrics import RATES, by_density, by_side, by_size, by_view
from massmatch.metrics.registry import metric as known
from massmatch.runs.folder import RunFolder
from massmatch.runs.weights import read_weights
from massmatch.statistics.froc import with_limits
from massmatch.statistics.intervals import estimate
from massmatch.training.evaluate import Measured

METRICS = {
    "dsc": "DSC, mean over images",
    "dsc_pooled": "DSC of all pixels together",
    "iou": "IoU, mean over images",
    "sen_pooled": "sensitivity of all pixels together",
    "precision": "precision, mean over images with a prediction",
    "missed": "share of the images on which no pixel of the mass was found",
    "masses_found": "masses found (IoU of 0.2 at least)",
    "pieces_false_iou20": "false findings per image",
}
STRATA = {"mass, share of the image": by_size, "density": by_density, "side": by_side, "view": by_view}
STRATIFIED = ("dsc", "dsc_pooled", "missed", "masses_found")
LEFT_OUT = ("cohort", "fingerprint", "own_code", "start_sha256")  # of the experiment: told elsewhere


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *lines))


def with_interval(rows: pd.DataFrame, metric: str) -> str:
    """A metric with its interval over patients, in percent or as a count."""
    found, shown = estimate(rows, metric), "{:.2f}"
    if known(metric).percent:
        found, shown = found._replace(value=100 * found.value, low=100 * found.low, high=100 * found.high), "{:.1f}"
    value = shown.format(found.value) + (" %" if known(metric).percent else "")
    return value if found.patients < 2 else f"{value} [{shown.format(found.low)}, {shown.format(found.high)}]"


def by_strata(rows: pd.DataFrame) -> str:
    """DSC, misses and what is found of each kind of image."""
    lines = []
    for title, labels_of in STRATA.items():
        labels = labels_of(rows)
        for name in labels.cat.categories:
            some = rows[labels == name]
            numbers = [with_interval(some, metric) for metric in STRATIFIED]
            lines.append([title, str(name), str(len(some)), str(some["patient"].nunique()), *numbers])
    return table(["by", "", "images", "patients", "DSC", "DSC pooled", "missed", "masses found"], lines)


def froc_table(found: Measured) -> str:
    """Masses found at rates of false candidates per image, with intervals over patients."""
    rates = with_limits(found.candidates, found.rows)
    lines = [
        [f"{rate:g}", f"{100 * line.value:.1f} % [{100 * line.low:.1f}, {100 * line.high:.1f}]"]
        for rate, line in zip(RATES, rates.loc[list(RATES)].itertuples(), strict=True)
    ]
    return table(["false candidates per image", "masses found (IoU of 0.2 at least)"], lines)


def recipe(facts: dict[str, Any]) -> str:
    """The settings of the training."""
    return table(["setting", "value"], [[k, str(v)] for k, v in facts["experiment"].items() if k not in LEFT_OUT])


def first_weights(experiment: dict[str, Any]) -> str:
    """A line on what the training started from; nothing where that was chance."""
    if (start := experiment["start"]) == "random":
        return ""
    learned = (
        "encoder began with the weights that EfficientNet-Lite0 learned on the photographs of\n  ImageNet (Tan and Le "
        "2019; Apache-2.0); no picture of ImageNet is in the file"
    )
    further = f"training began with {Path(start).name} (SHA-256 {experiment.get('start_sha256')})"
    return f"\n- **What it knew before**: its {learned if start == 'imagenet' else further}."


def trained(run: RunFolder) -> str:
    """How long the training took, and which epoch was kept."""
    history, resolved = run.history(), run.resolved()
    best = history.loc[history["val_dsc_pooled"][::-1].idxmax()]
    planned, patience = run.experiment()["epochs"], run.experiment().get("patience", 0)
    why = f"none of the last {patience} was better" if patience else "the training was cut off"
    cut = "" if len(history) == planned else f" of {planned} that were planned ({why})"
    return (
        f"{len(history)} epochs{cut} in {history['seconds'].sum() / 60:.0f} minutes on {resolved['threads']} thread(s) "
        f"of a {resolved['device'].upper()}; kept: epoch {int(best['epoch'])}, the best on the validation part (pooled "
        f"DSC {100 * best['val_dsc_pooled']:.1f} %), where the threshold was chosen, too."
    )


def card(
    path: Path,
    facts: dict[str, Any],
    run: RunFolder,
    parts: Split,
    cohort: Cohort,
    found: Measured,
    tta: Measured | None = None,
) -> str:
    """The whole card; `tta`: the same images with test-time augmentation, where the network knows mirrored ones."""
    rows, table_of = found.rows, cohort.table.set_index("id")
    patients = {name: table_of.loc[ids, "patient"].nunique() for name, ids in parts._asdict().items()}
    _, tensors = read_weights(path)
    count = sum(v.numel() for n, v in tensors.items() if v.is_floating_point() and "running" not in n)
    experiment, fold = facts["experiment"], run.experiment()["fold"]
    columns = {"value [95 % interval over patients]": rows, **({} if tta is None else {"with `--tta`": tta.rows})}
    metrics = table(
        ["on the test part", *columns],
        [[words, *(with_interval(of, metric) for of in columns.values())] for metric, words in METRICS.items()],
    )
    sizes = [[name, str(len(ids)), str(patients[name])] for name, ids in parts._asdict().items()]
    women = ", ".join(sorted(rows["patient"].unique()))
    return f"""# Model card of the packaged network

Written by `docs/package_weights.py`; every number follows from the run and its test images.
**For research, not for diagnosis.**

**In short**: on women whom it has not seen it finds {with_interval(rows, "masses_found")} of the masses,
and beside them {with_interval(rows, "pieces_false_iou20")} false findings per image.
On {with_interval(rows, "missed")} of the images it finds no pixel of the mass.

- **What it is**: `{path.name}`, {path.stat().st_size / 1e6:.1f} MB, SHA-256 `{digest(path)}`. {facts["model"]} of width
  {facts["width"]} ({count:,} weights in float16, computed with in float32), for grey mammograms at
  {facts["size"][0]} x {facts["size"][1]} pixels with the chest wall on the {facts["orientation"]} (`massmatch predict`
  turns images, fills them up to these proportions and resizes them by itself).
  A pixel above a probability of {facts["threshold"]:.4f} is predicted mass.
- **What it was trained on**: fold {fold} of {experiment["folds"]} of {len(cohort)} film mammograms with masses of
  {cohort.table["patient"].nunique()} women, the official training part of CBIS-DDSM at {facts["size"][0]} x
  {facts["size"][1]} (fingerprint {experiment["fingerprint"]}). {facts["data_licence"]}{first_weights(experiment)}
- **How**: {trained(run)}

## Whom it has not seen

{table(["part", "images", "patients"], sizes)}

No patient is in two parts. The test part had no influence on weights, epoch or threshold. On the settings it had
little: network, loss, augmentation, schedule and learning rate were chosen on the validation part, where this network
did better than those before it; but the choice was made when the numbers of all on the same test part were known
(`docs/results.md` has them). Numbers of the official test part of CBIS-DDSM, which nobody here has looked at, would
settle that. Its patients:

<details><summary>{patients["test"]} patients</summary>

{women}

</details>

## What it finds and misses

All on the test part; every image there holds a mass. Intervals: whole patients drawn anew, 10 000 times (1000 for the
table of candidates). The first table is at the threshold of the weights, which plays no part in the second: candidates
are the pieces that are left of the regions of the probability map above 0.1 when each is cut at half of its own
maximum, and count from the highest down. Intervals hold for these weights, and say nothing of another training or of
another hospital: how the same training did on other folds stands in `docs/results.md`, and a single fold may flatter.

{metrics}

{froc_table(found)}

{by_strata(rows)}

The sizes are quarters of the test part; 0.1 % of the image are {facts["size"][0] * facts["size"][1] / 1000:.0f} pixels.
A mass counts as found where the prediction that matches it has an IoU of at least 0.2 with it; a false finding is one
that neither matches nor touches a found mass. Strata are looked at one by one, without correction for their number.

## What it was not tried on

- **Digital mammograms**: it has seen scanned film only. Noise, contrast and markers are others there.
- **Mammograms without a mass**: there are none in its data, so how often it calls a healthy breast ill is unknown. The
  false candidates above are those beside masses.
- **Calcifications, asymmetries and distortions** that no mass goes with; implants; other views than CC and MLO.
- **INbreast** or any other collection; other scanners, countries and years. No one has compared it with readers.
- **Small masses**: at {facts["size"][0]} pixels a side they are a few pixels wide (see the table by size).

## How to get it again

    massmatch train COHORT --recipe strong --fold {fold}
    python docs/package_weights.py RUN COHORT

{recipe(facts)}
"""


def digest(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
