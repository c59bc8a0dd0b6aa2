"""The command `predict`."""

import json
import sys
from collections.abc import Collection
from pathlib import Path

from PIL import Image

from massmatch.cli.screen import DATA, errors, screen
from massmatch.data.errors import CohortError
from massmatch.inference.contours import outlines
from massmatch.inference.predict import Prediction, image_files, load_network
from massmatch.inference.predict import predict as segment
from massmatch.pictures import overlay


def predict_all(
    run: Path,
    images: list[Path],
    out: Path,
    *,
    keep_names: bool = False,
    allow_for_processing: bool = False,
    own: Collection[str] = (),
) -> None:
    """Write the results of every image; exit with 3 at the end if some could not be segmented.

    Raises FileNotFoundError and ValueError as `load_network` and `image_files` do, ValueError for two images of one
    name, and OSError where `out` cannot be written.
    """
    model, facts = load_network(run, own)
    files = list(image_files(images))
    out.mkdir(parents=True, exist_ok=True)
    written: dict[str, str] = {}
    failed = []
    for root, path in files:
        shown = path.relative_to(root).as_posix()
        try:
            found = segment(
                model, facts, path, root=root, keep_name=keep_names, allow_for_processing=allow_for_processing
            )
            if found.name in written:
                raise CohortError(f"{shown}: its result would replace that of {written[found.name]}: predict it apart")
        except CohortError as error:
            failed.append(str(error))
            continue
        written[found.name] = shown
        write(found, out, facts["threshold"])
        area, share = int(found.mask.sum()), 100 * found.mask.mean()
        screen.print(f"{found.name}: {area} pixels of mass, {share:.2f} % of the image", soft_wrap=True)
    for text in failed:
        errors.print(f"massmatch: {text}", style="red", markup=False, highlight=False)
    screen.print(
        f"{len(written)} of {len(files)} images segmented; masks and contours in {out}; for research, not for diagnosis"
    )
    if failed:
        sys.exit(DATA)


def write(found: Prediction, out: Path, threshold: float) -> None:
    """Mask, picture and points of one image."""
    Image.fromarray(found.mask).convert("L").save(out / f"{found.name}_mask.png")
    overlay(found.image, prediction=found.mask).save(out / f"{found.name}_contour.png")
    text = json.dumps(outlines(found, threshold), indent=1)
    (out / f"{found.name}_contours.json").write_text(text, encoding="utf-8")
