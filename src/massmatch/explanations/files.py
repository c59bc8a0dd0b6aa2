"""Writes what is known about one image and loss: a picture, a page, and the ledger as a table."""

import json
import math
from pathlib import Path
from typing import Any

from massmatch.explanations.figure import picture
from massmatch.explanations.ledger import Ledger, ledger, off_the_ends
from massmatch.explanations.page import page
from massmatch.explanations.subject import Subject
from massmatch.explanations.variants import family
from massmatch.runs.atomic import write_atomic

ENDINGS = (".png", ".html", ".csv", ".json")


def explain_subject(subject: Subject, spec: str, out: Path, *, as_json: bool = False) -> tuple[Ledger, list[Path]]:
    """The ledger of the loss that was asked for, and the files: `<id>_explain.png`, .html, .csv, and .json if wanted.

    Raises UsageError for a loss that has no cells, before anything is computed or written.
    """
    losses = family(spec)
    p, moved = off_the_ends(subject.probability, subject.mask)
    names = {variant: spec if variant == losses.asked else variant.name for variant in losses.variants()}
    ledgers = {variant: ledger(losses.loss(variant), p, subject.instances, name) for variant, name in names.items()}
    asked = ledgers[losses.asked]
    content = {
        ".png": picture(subject, asked),
        ".html": page(subject, losses, ledgers, moved).encode(),
        ".csv": asked.cells.to_csv(index=False).encode(),
    }
    if as_json:
        content[".json"] = json.dumps(as_dict(subject, spec, asked), indent=1, allow_nan=False).encode()
    out.mkdir(parents=True, exist_ok=True)
    for ending in ENDINGS:  # nothing of an earlier call, perhaps of another loss, may stand beside what is written now
        (out / f"{subject.id}_explain{ending}").unlink(missing_ok=True)
    paths = [out / f"{subject.id}_explain{ending}" for ending in content]
    for path, bytes_ in zip(paths, content.values(), strict=True):
        write_atomic(path, bytes_)
    return asked, paths


def as_dict(subject: Subject, spec: str, asked: Ledger) -> dict[str, Any]:
    """The ledger for a program, with every digit; undefined shares are null."""
    cells = [
        {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in row.items()}
        for row in asked.cells.to_dict("records")
    ]
    facts = {name: None if isinstance(v, float) and math.isnan(v) else v for name, v in asked.facts().items()}
    size = {"shape": asked.shape, "cell_size": asked.cell_size, "threshold": asked.threshold}
    return {"id": subject.id, "source": subject.source, "spec": spec, **facts, **size, "ledger": cells}
