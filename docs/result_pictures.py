"""Draws six test images of one run, the best, the middle and the worst, for docs/results.md.

    python docs/result_pictures.py RUN COHORT

The images are chosen by their DSC alone: the two highest, the two in the middle of all, and of those with a DSC of 0
the two with the largest masses. The line about their source that the licence asks for stands in docs/results.md.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

from massmatch.data import Cohort, open_cohort
from massmatch.runs.collection import collect

OUT = Path(__file__).parent / "images/real.png"
TRUE, PREDICTED = "#66ff66", "#4da6ff"  # green and blue, as in the paper's Figure 4


def chosen(rows: pd.DataFrame) -> pd.DataFrame:
    """Two of the best, the middle and the worst images, in this order."""
    ordered = rows.sort_values(["dsc", "mass_fraction"], ascending=False)
    middle = len(ordered) // 2
    worst = ordered[ordered["dsc"] == 0].head(2)
    return pd.concat([ordered.head(2), ordered.iloc[middle - 1 : middle + 1], worst])


def draw(run: Path, cohort: Cohort, rows: pd.DataFrame) -> None:
    """Write the six images in a row, each with both contours and its DSC."""
    figure = Figure(figsize=(12, 2.4), layout="constrained")
    for ax, (_, row) in zip(figure.subplots(1, len(rows)), rows.iterrows(), strict=True):
        sample = cohort.load(row["id"])
        with Image.open(run / "predictions" / f"{row['id']}.png") as picture:
            probability = np.asarray(picture) / 65535
        ax.imshow(sample.image, cmap="gray")
        for mask, colour in ((sample.mask, TRUE), (probability > row["threshold"], PREDICTED)):
            if mask.any() and not mask.all():
                ax.contour(mask, [0.5], colors=colour, linewidths=1)
        ax.set_title(f"DSC {100 * row['dsc']:.0f} %", fontsize=9)
        ax.set_axis_off()
    figure.savefig(OUT, dpi=80)


if __name__ == "__main__":
    (finished,) = collect(Path(sys.argv[1])).finished
    draw(finished.folder, open_cohort(Path(sys.argv[2])), chosen(finished.rows))
