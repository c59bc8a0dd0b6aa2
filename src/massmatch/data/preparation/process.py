"""From a dataset as it is on disk to a cohort: on all cores, to be interrupted and gone on with.

Every finished image leaves a line of JSON in `<out>.part/done/`, with a key of all that it was made from and the sums
of the files written. The same command goes on from there; what does not match is made again.
"""

import hashlib
import json
import os
import shutil
import signal
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from itertools import islice
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any

import pandas as pd

from massmatch import __version__
from massmatch.data.errors import DataError, DataWarning
from massmatch.data.masks import without_specks
from massmatch.data.open import read_json
from massmatch.data.preparation.files import (
    FOLDERS,
    NATIVE,
    beside,
    check_sample,
    finish,
    is_there,
    plain,
    write_sample,
)
from massmatch.data.preparation.record import without_names
from massmatch.data.preprocessing.frame import Frame, Preprocessing, preprocess
from massmatch.data.readers.listing import NAMED, Item, Listing, named
from massmatch.data.sample import Sample
from massmatch.data.table import spelt_in_several_ways
from massmatch.errors import RunError, UsageError
from massmatch.machine import cores, require_processes

DONE = "done"
RETRY = 0.2  # seconds before a file that could not be read is read once more: network drives stumble
AHEAD = 4  # images handed to each worker in advance, so that none waits and few are lost when one fails

Tick = Callable[[int, int], None]


@dataclass
class Outcome:
    """What became of a dataset that was prepared."""

    kept: bool = False  # the very cohort was there already
    skipped: dict[str, str] = field(default_factory=dict)  # file: fault
    told: list[str] = field(default_factory=list)  # warnings about single images


def prepare_listing(
    listing: Listing,
    out: Path | str,
    how: Preprocessing,
    *,
    reader: str,
    options: dict[str, Any],
    workers: int | None = None,
    on_error: str = "stop",
    tick: Tick = lambda done, of: None,
) -> Outcome:
    """Read, preprocess and write every image of a listing; the same cohort, if it is there already, is kept.

    `workers`: processes; by default one per core that this process may use. `tick` is called with images done and
    to do.

    Raises DataError with every fault of the listing, or for the first faulty image, unless `on_error` is "skip";
    FileExistsError if `out` holds something else or is being written. After any of them the finished images are kept
    in `<out>.part` and the same call goes on.
    """
    if on_error not in ("stop", "skip"):
        raise UsageError(f"on_error must be stop or skip, but is {on_error!r}")
    if workers is not None:
        require_processes("--workers", workers)
    out, items = Path(out), listing.items
    _check_ids(items)
    _check_patients(items)
    if listing.faults and on_error == "stop":
        raise DataError(_all(listing.faults))
    preprocessing = how.model_dump(mode="json")
    asked, options = plain(options), plain({**options, **preprocessing, "source": _digest(listing)})
    if is_there(out, reader, options):
        there = read_json(out)
        return Outcome(True, there.get("skipped", {}), there.get("warnings", []))
    result = Outcome(skipped={**listing.skipped, **listing.faults})
    with beside(out) as part:
        (part / DONE).mkdir(exist_ok=True)
        jobs = (Job(item, listing.root, part, how, asked) for item in items)
        made, failed = {}, set()
        for count, done in enumerate(_all_done(jobs, len(items), workers or cores()), start=1):
            if "fault" not in done:
                made[done["row"]["id"]] = done
            elif on_error == "stop":
                raise DataError(done["fault"])
            else:
                failed.add(done["id"])
                result.skipped[done["file"]] = done["fault"]
            result.told += done["told"]
            tick(count, len(items))
        result.told.sort()
        _keep_only({file for done in made.values() for file in done["sums"]}, part)
        rows = [made[item.id]["row"] for item in items if item.id not in failed]
        if not rows and (lost := result.skipped or {file: f"{file}: {why}" for file, why in listing.left_out.items()}):
            raise DataError(f"no image is left:\n{_named(lost)}")
        viewless = [row["id"] for row in rows if row.get("view") is None]
        if viewless and how.pectoral == "suppress":
            why = "no view is known (a column `view` or a DICOM header says it), so that their muscle is not suppressed"
            result.told.insert(0, f"{named(viewless)}: {why}")
        facts = {"reader": reader, "options": options, "preprocessing": preprocessing, "licence": listing.licence}
        told = {"left_out": listing.left_out, "skipped": result.skipped, "remarks": listing.remarks}
        told |= {"warnings": result.told}
        finish(part, out, rows, {**facts, **without_names(told, listing)})
    return result


def _check_ids(items: list[Item]) -> None:
    """DataError that names the files of two images with one id."""
    seen: dict[str, Item] = {}
    for item in items:
        if (other := seen.get(item.id)) is not None:
            raise DataError(
                f"{', '.join(item.files)}: has the id {item.id}, as has {', '.join(other.files)}: rename one of them"
            )
        seen[item.id] = item


def _check_patients(items: list[Item]) -> None:
    """DataError where the cohort, once it is written, could not be opened: one patient by several spellings."""
    patients = pd.Series({item.id: item.patient for item in items}, dtype=object)
    if len(several := patients[spelt_in_several_ways(patients)] if len(patients) else patients):
        raise DataError(
            f"{named(several.index.tolist())}: patients must be spelt in one way, but are {several.iloc[0]!r} and "
            f"{several[several != several.iloc[0]].iloc[0]!r}: where nothing names them, images count as patients of "
            "their own names, so rename these images or name the patients"
        )


def _all(faults: dict[str, str]) -> str:
    """The faults, and what can be done."""
    return f"{_named(faults)}\nmend these, or leave them out with --on-error skip"


def _named(faults: dict[str, str]) -> str:
    """A line per fault, the first ones in full."""
    lines = sorted(faults.values())
    more = [f"... and {len(lines) - NAMED} more ({len(lines)} in all)"] if len(lines) > NAMED else []
    return "\n".join([*lines[:NAMED], *more])


def _digest(listing: Listing) -> str:
    """16 hex digits that change with the images listed and with size and time of their files."""
    text = json.dumps([(item.id, item.patient, _files(listing.root, item)) for item in listing.items])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _files(root: Path, item: Item) -> list[tuple[str, int, int]]:
    """Name, bytes and time of every file of an image; -1 for one that cannot be looked at."""
    facts = []
    for file in item.files:
        try:
            found = (root / file).stat()
            facts.append((file, found.st_size, found.st_mtime_ns))
        except OSError:
            facts.append((file, -1, -1))
    return facts


@dataclass(frozen=True)
class Job:
    """One image to prepare, in any process."""

    item: Item
    root: Path
    part: Path
    how: Preprocessing
    asked: dict[str, Any]  # options of the reader, such as the label that is the mass

    @property
    def key(self) -> str:
        """Of all that the result depends on, the version too, which may give other pixels for the same options."""
        how, item = self.how.model_dump(mode="json"), self.item
        text = json.dumps([__version__, how, self.asked, item.patient, _files(self.root, item)])
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def note(self) -> Path:
        """The line of JSON that says that the image is done."""
        return self.part / DONE / f"{self.item.id}.json"

    def finished(self) -> dict[str, Any] | None:
        """What an earlier run left, if it still holds: same key, and the files as they were written."""
        try:
            done = json.loads(self.note.read_text(encoding="utf-8"))
            whole = all(_sum(self.part / file) == value for file, value in done["sums"].items())
            return dict(done) if done["key"] == self.key and whole else None
        except (OSError, ValueError, KeyError, TypeError):
            return None  # none, torn or of another version: made again

    def made(self) -> tuple[Sample, Sample, Frame, list[str]]:
        """The sample as it is read and as it is prepared, its frame, and what was warned of. Raises DataError."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", DataWarning)
            sample = self.item.read()
            check_sample(sample, ())
            prepared, frame = preprocess(sample, self.how)
        told = [str(warning.message) for warning in caught if issubclass(warning.category, DataWarning)]
        return sample, prepared, frame, told

    def run(self) -> dict[str, Any]:
        """Make the image, or say what is wrong with it."""
        if (done := self.finished()) is not None:
            return done
        try:
            try:
                sample, prepared, frame, told = self.made()
            except DataError:
                time.sleep(RETRY)
                sample, prepared, frame, told = self.made()
        except DataError as error:
            return {"fault": str(error), "id": self.item.id, "file": self.item.files[0], "told": []}
        native = None if frame.is_whole else without_specks(sample.instances, self.how.min_mass)[0]
        row = write_sample(self.part, prepared, native)
        folders = FOLDERS if native is None else (*FOLDERS, NATIVE)
        sums = {file: _sum(self.part / file) for file in (f"{folder}/{sample.id}.png" for folder in folders)}
        done = {"key": self.key, "row": row, "told": told, "sums": sums}
        unfinished = self.note.with_suffix(".tmp")
        unfinished.write_text(json.dumps(done, default=lambda number: number.item()), encoding="utf-8")
        unfinished.replace(self.note)
        return done


def _sum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _all_done(jobs: Iterator[Job], count: int, workers: int) -> Iterator[dict[str, Any]]:
    """What became of each job, in their order, so that the first fault named is the first of the listing."""
    workers = min(workers, count)
    if workers <= 1:
        yield from (job.run() for job in jobs)
        return
    # spawn: a forked child would inherit threads that hold locks
    pool = ProcessPoolExecutor(workers, get_context("spawn"), initializer=_worker)
    try:
        waiting = deque(pool.submit(Job.run, job) for job in islice(jobs, workers * AHEAD))
        while waiting:
            yield waiting.popleft().result()
            waiting.extend(pool.submit(Job.run, job) for job in islice(jobs, 1))
    except BrokenProcessPool:
        raise RunError(
            "a worker process was killed, as a rule for lack of memory: take fewer --workers; "
            "the same command goes on where it stopped"
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _worker() -> None:
    """Ctrl-C goes to every process of the terminal; the parent answers it. None outlives its parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _keep_only(files: set[str], part: Path) -> None:
    """Remove the notes, and files that an earlier run with other options left in the folder."""
    shutil.rmtree(part / DONE)
    for folder in (*FOLDERS, NATIVE):
        for path in (part / folder).glob("*"):
            if f"{folder}/{path.name}" not in files:
                path.unlink()
    if (part / NATIVE).is_dir() and not any((part / NATIVE).iterdir()):
        (part / NATIVE).rmdir()
