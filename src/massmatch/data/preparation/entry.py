"""Preparing in one call, from Python."""

from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from massmatch.data.cohort import Cohort
from massmatch.data.open import open_cohort
from massmatch.data.preparation.process import Tick, prepare_listing
from massmatch.data.preprocessing.frame import Preprocessing
from massmatch.data.preprocessing.options import PreprocessingOptions
from massmatch.data.readers import accepted_options, every_option, reader_named
from massmatch.errors import UsageError, refusals_as_usage


@dataclass(frozen=True)
class Prepared:
    """A dataset that was prepared: the cohort, and all of the dataset that is not in it, by file below the source."""

    cohort: Cohort
    kept: bool  # this very cohort was there already, and nothing was written
    # images that are missing from the cohort, and what is wrong with each; of one that was there already, with paths as
    # cohort.json has them, without patients' names
    skipped: dict[str, str]
    left_out: dict[str, str]  # files that do not belong to the cohort, and why
    warnings: list[str]  # about the whole dataset, then about single images
    summary: str  # what the reader counted, in one line; empty for readers that count nothing


def prepare(
    reader: str,
    source: Path | str,
    out: Path | str,
    *,
    workers: int | None = None,
    on_error: Literal["stop", "skip"] = "stop",
    tick: Tick = lambda done, of: None,
    **options: Any,
) -> Prepared:
    """Turn a dataset as it is on disk into a cohort, a folder that `train`, `sweep` and all others read.

    The same call again goes on after an interruption, or does nothing where the cohort is there.

    Args:
        reader: "inbreast", "cbis-ddsm", "folder", "nnunet" or "monai": how the dataset is stored (docs/data.md).
        source: the dataset as it was released.
        out: the cohort's folder.
        workers: processes; by default one per core that this process may use.
        on_error: "stop" at the first faulty image, or "skip" such images and name them in `Prepared.skipped`.
        tick: called after each image, with the numbers of images that are done and that there are.
        options: fields of `PreprocessingOptions`, such as size, crop and flip, and arguments of the reader, such as
            masses_only.

    Returns:
        The cohort, and what of the dataset is not in it.

    Raises:
        UsageError: for an unknown reader or option, a value that cannot be, a source that is not there, or a folder
            `out` that holds something else or is being written.
        DataError: for a faulty dataset, or with `on_error` "stop" for the first faulty image. The finished images are
            kept in `<out>.part`, and the same call goes on.
        RunError: where a process was killed, as a rule for lack of memory.

    Example:
        prepared = massmatch.prepare("folder", "mammograms", "cohort", crop="breast", size=(256, 256))
        len(prepared.cohort), prepared.skipped
    """
    read = reader_named(reader)
    how = {name: value for name, value in options.items() if name in PreprocessingOptions.__annotations__}
    chosen = {name: value for name, value in options.items() if name not in how}
    refuse_unknown(chosen)
    chosen = accepted_options(reader, chosen)
    with refusals_as_usage():
        preprocessing = Preprocessing(**how)
    listing = read(Path(source), **chosen)
    outcome = prepare_listing(
        listing, out, preprocessing, reader=reader, options=chosen, workers=workers, on_error=on_error, tick=tick
    )
    told = [*listing.remarks, *outcome.told]
    return Prepared(open_cohort(out), outcome.kept, outcome.skipped, listing.left_out, told, listing.summary)


def refuse_unknown(options: dict[str, Any]) -> None:
    """Raise UsageError, which says the nearest name, for an option that neither a reader nor the preparation has."""
    known = {*PreprocessingOptions.__annotations__, *every_option()}
    if unknown := sorted(options.keys() - known):
        near = get_close_matches(unknown[0], known, 1, cutoff=0.0)[0]
        raise UsageError(f"unknown option {unknown[0]!r}; did you mean {near!r}?")
