"""What the command `predict` says on the screen."""

import sys
from pathlib import Path
from typing import Any

from massmatch.cli.screen import DATA, errors, screen
from massmatch.errors import UsageError
from massmatch.inference.batch import predict
from massmatch.inference.findings import USE
from massmatch.inference.packaged import ABOUT, CARD, PACKAGED
from massmatch.wording import count


def chosen_weights(run: Path | None, weights: Path | None, ensemble: list[Path]) -> list[Path]:
    """The networks that were asked for; by default the packaged one, of which it is said what it is.

    Raises UsageError for more than one of --run, --weights and --ensemble, and for a file where a folder was asked for.
    """
    given = [name for name, value in (("--run", run), ("--weights", weights), ("--ensemble", ensemble)) if value]
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)}: give one of them")
    if run is not None and run.is_file():
        raise UsageError(f"--run: must be the folder of a run, but {run} is a file: give it as --weights")
    if weights is not None and weights.is_dir():
        raise UsageError(f"--weights: must be a file, but {weights} is a folder: give it as --run")
    if given:
        return [path for path in (run, weights, *ensemble) if path is not None]
    _say(f"with {ABOUT}: see {CARD}")
    return [PACKAGED]


def predict_all(images: list[Path], out: Path, *, weights: list[Path], **options: Any) -> None:
    """Run `inference.batch.predict` with these options, a line per image; exit with 3 at the end if some failed.

    Raises what `predict` raises.
    """
    batch = predict(images, out, weights=weights, watch=_tell, **options)
    if len(weights) > 1 and options.get("threshold") is None:
        _say(f"{len(weights)} networks, threshold {batch.threshold:g}, the mean of theirs in log-odds")
    for text in batch.failed.values():
        errors.print(f"massmatch: {text}", style="red")
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
        found, area = count(row["findings"], "finding"), count(row["area_px"], "pixel")
        _say(f"{row['id']}: {found}{outside}{left}, {area} of mass")


def _say(text: str) -> None:
    """Nothing in it is markup: it holds names of files."""
    screen.print(text, soft_wrap=True)
