"""Runs on a real (tiny) cohort whose predictions are the true masses, moved: everything a report shows, no training."""

import numpy as np
import pandas as pd
import yaml
from PIL import Image
from scipy import ndimage

from massmatch.training.evaluate import candidates_of, measure
from massmatch.training.thresholds import as_stored

HISTORY = {"epoch": [1, 2, 3], "loss": [0.9, 0.5, 0.4], "val_dsc_pooled": [0.1, 0.4, 0.3]}


def moved(mask, by):
    """Probabilities whose mask is the truth, moved down by so many pixels; `by` = None: nothing is found."""
    if by is None:
        return np.full(mask.shape, 0.2, np.float32)
    return np.where(ndimage.shift(mask.astype(float), (by, 0), order=0) > 0.5, 0.9, 0.1).astype(np.float32)


def write_drawn_run(
    runs, cohort, loss, *, by=0, alarm=False, fold=0, folds=2, seed=0, history=HISTORY, candidates=True, **changes
):
    """A finished run on every `folds`-th image of the cohort. `by`: pixels, or a function of the image's number.

    `alarm`: 16 pixels are predicted in every image without mass.
    """
    experiment = {"cohort": cohort.name, "fingerprint": cohort.fingerprint, "loss": loss, "model": "aunet", "width": 8}
    experiment |= {"scheme": "kfold", "folds": folds, "seed": seed, "epochs": 3, "threshold": 0.5, "fold": fold}
    folder = runs / f"{loss.replace('/', '-')}_seed{seed}" / f"fold{fold}"
    (folder / "predictions").mkdir(parents=True)
    patients = sorted(set(cohort.table["patient"]))
    tested = {patient for n, patient in enumerate(patients) if n % folds == fold}
    rows, pieces = [], []
    for n, id in enumerate(cohort.table.loc[cohort.table["patient"].isin(tested), "id"]):
        sample = cohort.load(id)
        probability = moved(sample.mask, by(n) if callable(by) else by)
        probability[20:24, 20:24] = 0.9 if alarm and not sample.mask.any() else probability[20:24, 20:24]
        stored = Image.fromarray(as_stored(probability))
        stored.save(folder / "predictions" / f"{id}.png")
        rows.append(measure(sample, probability, sample.instances, sample.spacing_mm, 0.5))
        pieces.append(candidates_of(sample, probability))
    images = {"train": len(cohort) - len(rows), "validation": 2, "test": len(rows)}
    resolved = {"device": "cpu", "precision": "float32", "parameters": 1234, "images": images}
    resolved |= {"versions": {"massmatch": "0.1.0", "torch": "2.13.0"}}
    (folder / "experiment.yaml").write_text(yaml.safe_dump({**experiment, **changes, "resolved": resolved}))
    pd.DataFrame(rows).to_csv(folder / "rows.csv", index=False)
    pd.DataFrame(history).to_csv(folder / "history.csv", index=False)
    if candidates:
        pd.concat(pieces).to_csv(folder / "candidates.csv", index=False)
    (folder / "DONE").touch()
    return folder


def write_drawn_runs(runs, cohort):
    """Four losses of which the second is good and the last finds nothing in a third of the images, on two folds."""
    for fold in (0, 1):
        write_drawn_run(runs, cohort, "hybrid", by=lambda n: (1, 3, None)[n % 3], fold=fold)
        write_drawn_run(runs, cohort, "tversky", by=1, fold=fold)
        write_drawn_run(runs, cohort, "sm-tversky-s-a", by=lambda n: (2, 4, 12)[n % 3], alarm=True, fold=fold)
        write_drawn_run(runs, cohort, "sm-tversky-s-a:cell_statistic=mean", by=lambda n: (5, 6, None)[n % 3], fold=fold)
    return runs
