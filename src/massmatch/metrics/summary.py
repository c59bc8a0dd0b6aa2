"""Rows of many images in one line."""

import pandas as pd

from massmatch.metrics.counts import Counts
from massmatch.metrics.registry import METRICS

MEASURED = [
    "dsc",
    "iou",
    "sen",
    "precision",
    "specificity",
    "acc",
    "delta_a",
    "delta_a_signed",
    "hau_px",
    "hau95_px",
    "assd_px",
    "nsd_2px",
    "hau_mm",
    "hau95_mm",
    "assd_mm",
    "nsd_2mm",
    "fp_area_px",
    "fp_area_mm2",
]
ON_HITS = ("hau_px", "hau95_px", "hau_mm", "hau95_mm")
LESIONS = ("masses", "pieces")  # and all columns whose names go on from these


def summary(rows: pd.DataFrame) -> dict[str, float]:
    """Rows of `image_metrics` in one line.

    For each metric m: `m` (mean over images), `m_sd`, `m_median`, `m_n` (images for which it is defined). DSC, IoU,
    SEN, ΔA and the distances are over the images with mass only, since two empty masks agree without any skill;
    `false_alarms` is the share of the images without mass on which something was predicted (NaN if there is none);
    `dsc_pooled`, `sen_pooled`, `acc_pooled`, `delta_a_pooled` = |sum P - sum G| / sum G from counts added up.
    HAU and HAU95 have two means each: the plain one counts the diagonal of the image where nothing was predicted;
    `hau_px_hits` and its like are over the `hits_n` images where mass is and was found (`hits_mm_n` of them with a
    known spacing). Counts of images, those without mass too: n, truth_empty, prediction_empty, both_empty, missed,
    false_positive. Of masses and pieces: the sums of `lesion_counts`; `pieces_false_per_image` and
    `pieces_false_per_normal` (per image without mass; NaN if there is none).
    """
    line: dict[str, float] = {"n": len(rows)}
    with_mass = rows[~rows["truth_empty"].astype(bool)]
    for name in [name for name in MEASURED if name in rows]:
        values = (with_mass if METRICS[name].with_mass else rows)[name].astype(float)
        line |= {
            name: values.mean(),
            f"{name}_sd": values.std(),
            f"{name}_median": values.median(),
            f"{name}_n": int(values.count()),
        }
    return line | _pooled(rows) | _hits(rows) | _images(rows) | _lesions(rows)


def _pooled(rows: pd.DataFrame) -> dict[str, float]:
    counts = Counts(*(int(rows[name].sum()) for name in Counts._fields))
    return {
        "dsc_pooled": counts.dice,
        "sen_pooled": counts.sensitivity,
        "acc_pooled": counts.accuracy,
        "delta_a_pooled": abs(counts.area_difference),
    }


def _hits(rows: pd.DataFrame) -> dict[str, float]:
    hits = rows[~rows["truth_empty"].astype(bool) & ~rows["missed"].astype(bool)]
    known = {name: hits[name].astype(float) for name in ON_HITS if name in rows}
    with_mm = {"hits_mm_n": int(known["hau_mm"].count())} if "hau_mm" in known else {}
    return {"hits_n": len(hits), **with_mm, **{f"{name}_hits": values.mean() for name, values in known.items()}}


def _images(rows: pd.DataFrame) -> dict[str, float]:
    truth_empty, prediction_empty = rows["truth_empty"].astype(bool), rows["prediction_empty"].astype(bool)
    return {
        "truth_empty": int(truth_empty.sum()),
        "prediction_empty": int(prediction_empty.sum()),
        "both_empty": int((truth_empty & prediction_empty).sum()),
        "missed": int(rows["missed"].astype(bool).sum()),
        "false_positive": int((truth_empty & ~prediction_empty).sum()),
        "false_alarms": float((~prediction_empty[truth_empty]).mean()) if truth_empty.any() else float("nan"),
    }


def _lesions(rows: pd.DataFrame) -> dict[str, float]:
    sums: dict[str, float] = {str(name): int(rows[name].sum()) for name in rows if str(name).startswith(LESIONS)}
    if "pieces_false" in rows:
        normal = rows.loc[rows["truth_empty"].astype(bool), "pieces_false"]
        sums |= {"pieces_false_per_image": rows["pieces_false"].mean(), "pieces_false_per_normal": normal.mean()}
    return sums
