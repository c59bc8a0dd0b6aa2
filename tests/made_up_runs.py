"""Run folders and tidy rows without a training."""

import json

import numpy as np
import pandas as pd
import yaml

EXPERIMENT = {
    "cohort": "made-up",
    "fingerprint": "0123456789abcdef",
    "loss": "hybrid",
    "model": "aunet",
    "width": 8,
    "scheme": "kfold",
    "folds": 2,
    "seed": 0,
    "epochs": 3,
    "threshold": 0.5,
}


def image_rows(dsc, patients=None, *, ids=None, **columns):
    """A row per image with mass whose counts have this DSC up to a thousandth; 0 is a miss."""
    dsc = np.asarray(dsc, float)
    ids = [f"i{n:03d}" for n in range(len(dsc))] if ids is None else ids
    tp = (dsc * 1000).round().astype(int)
    facts = {"id": ids, "patient": ids if patients is None else patients, "view": "CC", "density": 2}
    metrics = {"dsc": dsc, "iou": dsc / (2 - dsc), "sen": dsc, "precision": dsc, "specificity": 0.9, "acc": 0.9}
    metrics |= {"delta_a": 0.0, "hau_px": 100 * (1 - dsc), "hau95_px": 90 * (1 - dsc), "hau_mm": np.nan}
    counts = {"tp": tp, "fp": 1000 - tp, "fn": 1000 - tp, "tn": 9000, "rows": 64, "cols": 64}
    lesions = {"masses": 1, "masses_found": dsc > 0.3, "masses_found_centre": dsc > 0.2, "pieces": 2, "pieces_false": 1}
    flags = {"mass_fraction": 0.1, "truth_empty": False, "prediction_empty": dsc == 0, "missed": dsc == 0}
    return pd.DataFrame({**facts, **flags, **metrics, "hau95_mm": np.nan, **counts, **lesions, **columns})


def system_rows(name, effect=0.0, *, seeds=1, folds=2, patients=40, noise=0.05, seed=0):
    """Tidy rows of a cross-validation: a patient's images are as hard for every system, plus effect and noise."""
    rng = np.random.default_rng(seed)
    hard = np.random.default_rng(99).uniform(0.3, 0.7, patients)
    tables = []
    for draw in range(seeds):
        for fold in range(folds):
            who = np.arange(fold, patients, folds)
            dsc = np.clip(hard[who] + effect + rng.normal(0, noise, len(who)), 0, 1)
            names = [f"p{n:02d}" for n in who]
            head = {"system": name, "loss": name, "model": "aunet", "width": 8, "seed": draw, "fold": fold}
            head |= {"scheme": "kfold", "train_images": patients - len(who)}
            tables.append(image_rows(dsc, names, ids=names).assign(**head))
    return pd.concat(tables, ignore_index=True)


def history_rows(rows, scores=(0.1, 0.4)):
    """The same learning curve for every run of tidy rows."""
    runs = rows[["system", "seed", "fold"]].drop_duplicates()
    epochs = pd.DataFrame({"epoch": range(1, len(scores) + 1), "val_dsc_pooled": scores})
    return runs.merge(epochs, how="cross")


def write_run(runs, *, dsc=(0.2, 0.6), done=True, fold=0, rows=None, **changes):
    """A run's folder as training leaves it, without weights."""
    experiment = {**EXPERIMENT, **changes}
    folder = runs / f"{experiment['loss']}_w{experiment['width']}_seed{experiment['seed']}" / f"fold{fold}"
    folder.mkdir(parents=True)
    table = image_rows(dsc) if rows is None else rows
    resolved = {"images": {"train": 40, "validation": 5, "test": len(table)}}
    (folder / "experiment.yaml").write_text(yaml.safe_dump({**experiment, "fold": fold, "resolved": resolved}))
    table.to_csv(folder / "rows.csv", index=False)
    scores = [0.1, 0.3, *[0.2] * experiment["epochs"]][: experiment["epochs"]]
    curve = pd.DataFrame({"epoch": range(1, len(scores) + 1), "val_dsc_pooled": scores})
    curve.to_csv(folder / "history.csv", index=False)
    if done:
        (folder / "DONE").touch()
    return folder


def fail(folder, reason="out of memory"):
    """What a sweep leaves of a run that failed."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "FAILED.json").write_text(json.dumps({"reason": reason, "traceback": "...", "when": "2026-01-01"}))
    return folder
