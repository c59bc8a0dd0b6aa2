"""Rows of many images in one line."""

import pandas as pd

from massmatch.metrics.counts import Counts

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
    "hau_mm",
    "hau95_mm",
    "assd_mm",
]


def summary(rows: pd.DataFrame) -> dict[str, float]:
    """Rows of `image_metrics` in one line.

    For each metric m: `m` (mean over images), `m_sd`, `m_median`, `m_n` (images for which it is defined);
    `dsc_pooled`, `sen_pooled`, `acc_pooled`, `delta_a_pooled` = |sum P - sum G| / sum G from counts added up;
    `hau_px_hits` and `hau95_px_hits` over the `hits_n` images where mass is and was found; counts of images:
    n, truth_empty, prediction_empty, both_empty, missed. The plain `hau_px` includes the misses, penalised.
    """
    line: dict[str, float] = {"n": len(rows)}
    for name in [name for name in MEASURED if name in rows]:
        values = rows[name].astype(float)
        line |= {
            name: values.mean(),
            f"{name}_sd": values.std(),
            f"{name}_median": values.median(),
            f"{name}_n": int(values.count()),
        }
    pooled = Counts(*(int(rows[name].sum()) for name in Counts._fields))
    line |= {"dsc_pooled": pooled.dice, "sen_pooled": pooled.sensitivity, "acc_pooled": pooled.accuracy}
    line["delta_a_pooled"] = abs(pooled.area_difference)
    truth, predicted = ~rows["truth_empty"].astype(bool), ~rows["prediction_empty"].astype(bool)
    hits = truth & ~rows["missed"].astype(bool)
    line |= {
        "hits_n": int(hits.sum()),
        **{f"{m}_hits": rows.loc[hits, m].mean() for m in ("hau_px", "hau95_px")},
    }
    line |= {"truth_empty": int((~truth).sum()), "prediction_empty": int((~predicted).sum())}
    line |= {"both_empty": int((~truth & ~predicted).sum()), "missed": int(rows["missed"].astype(bool).sum())}
    lesions = [
        name for name in ("masses", "masses_found", "masses_found_centre", "pieces", "pieces_false") if name in rows
    ]
    return line | {name: int(rows[name].sum()) for name in lesions}
