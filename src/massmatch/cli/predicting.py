"""What the command `predict` says on the screen."""

import sys
from pathlib import Path
from typing import Any

from massmatch.cli.screen import DATA, errors, screen
from massmatch.inference.batch import predict
from massmatch.inference.findings import USE


def predict_all(run: Path, images: list[Path], out: Path, **options: Any) -> None:
    """Run `inference.batch.predict` with these options, a line per image; exit with 3 at the end if some failed.

    Raises what `predict` raises.
    """
    batch = predict(run, images, out, watch=_tell, **options)
    for text in batch.failed.values():
        errors.print(f"massmatch: {text}", style="red", markup=False, highlight=False)
    done = len(batch.index) - len(batch.failed)
    _say(f"{done} of {len(batch.index)} images segmented; results, findings.csv and index.csv in {out}; {USE}")
    if (nothing := sum(row["findings"] == 0 for row in batch.index)) and options.get("dicom"):
        _say(f"nothing was found on {nothing}: the report says so, and no segmentation was written")
    if batch.failed:
        sys.exit(DATA)


def _tell(row: dict[str, Any]) -> None:
    if not row["error"]:
        outside = f", {row['outside_breast']} of them outside the breast" if row["outside_breast"] else ""
        left = f", {row['left_out']} left out" if row["left_out"] else ""
        count = "1 finding" if row["findings"] == 1 else f"{row['findings']} findings"
        _say(f"{row['id']}: {count}{outside}{left}, {row['area_px']} pixels of mass")


def _say(text: str) -> None:
    """Nothing in it is markup: it holds names of files."""
    screen.print(text, markup=False, highlight=False, soft_wrap=True)
