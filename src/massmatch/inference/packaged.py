"""The trained network in this package, which `massmatch predict` uses by default, and mammograms to see it on."""

import csv
from pathlib import Path
from typing import NamedTuple

from massmatch.data.images import read_grey, read_labels
from massmatch.inference.network import load_network, segment
from massmatch.metrics import image_metrics
from massmatch.pictures import overlay
from massmatch.runs.start import PACKAGED

FOLDER = PACKAGED.parent
EXAMPLES = FOLDER / "examples"  # images/, masks/ and examples.csv; a cohort of a few images
CARD = FOLDER / "model_card.md"  # what it finds and misses, and on whom that was measured
ABOUT = "the packaged network, trained on film scans (CBIS-DDSM) and not tried on digital mammograms"


class Shown(NamedTuple):
    """What the packaged network finds on one of its examples."""

    id: str
    kind: str  # "best", "median" or "worst": by the DSC, of the images of the test part
    dsc: float
    picture: Path  # the mass that was marked in green, the prediction in blue


def show_packaged(out: Path) -> list[Shown]:
    """Predict the examples, mammograms of women whom the network has not learned from, and draw them into a folder."""
    out.mkdir(parents=True, exist_ok=True)
    model, facts = load_network(PACKAGED)
    shown = []
    with (EXAMPLES / "examples.csv").open(encoding="utf-8", newline="") as file:
        examples = list(csv.DictReader(file))
    for each in examples:
        image, truth = (read(EXAMPLES, f"{of}/{each['id']}.png") for of, read in READ.items())
        found = segment(model, facts, image, None, each["id"]) > facts["threshold"]
        picture = out / f"{each['kind']}.png"
        overlay(image, truth=truth > 0, prediction=found).save(picture)
        shown.append(Shown(each["id"], each["kind"], float(image_metrics(found, truth > 0)["dsc"]), picture))
    return shown


READ = {"images": read_grey, "masks": read_labels}
