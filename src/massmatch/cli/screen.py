"""What the commands say: tables, progress, and errors in one line with the right exit code."""

import math
import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from rich.console import Console

from massmatch.errors import MassmatchError, UsageError

if TYPE_CHECKING:
    import pandas as pd

    from massmatch.training.progress import Progress

FAILURE, USAGE, DATA, CLOSED_PIPE = 1, 2, 3, 128 + 13  # 13: SIGPIPE
HEADINGS, COLUMN = 27, 17  # of the table of runs, in letters: a narrower column would break its numbers
DEBUG = threading.Event()  # set by `massmatch --debug`: every error shows its traceback
BUG = "massmatch: this is a fault of the program, not of your input: please report it with the lines below"


class Screen(Console):
    """The console of every command: what is printed is text, whatever brackets and ":words:" a name has.

    Styles come with `style=` or in a `rich.text.Text`, never in the text. It ends as Unix tools do when the reader of
    its pipe has gone: quietly, and with 141.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def on_broken_pipe(self) -> None:
        """Nothing is left to be flushed at the exit, which would fail once more."""
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.file.fileno())
        raise SystemExit(CLOSED_PIPE)


screen, errors = Screen(), Screen(stderr=True, soft_wrap=True)


def show(runs: Sequence[Path], names: Sequence[str] = (), *, unpaired: bool = False) -> dict[str, Path]:
    """Print the table of finished runs, and return their folders by name (and by folder where two share a name).

    `names`: of the runs; by default their losses. Several tables one below the other where one would be too wide.

    Raises UsageError for runs that tested other images, unless `unpaired`: their means are no comparison of losses.
    """
    from massmatch.reports.tables import comparison, on_screen
    from massmatch.runs.folder import EXPERIMENT, RunFolder

    losses = [
        given or (run.experiment()["loss"] if (run / EXPERIMENT).is_file() else run.path.name)
        for run, given in zip_longest(map(RunFolder, runs), names)
    ]
    named = {n if losses.count(n) == 1 else f"{n} ({run})": run for n, run in zip(losses, runs, strict=True)}
    rows = {name: RunFolder(folder).rows() for name, folder in named.items()}
    table, heading = comparison(rows), tested_images(rows, unpaired=unpaired)
    beside = max(1, (screen.width - HEADINGS) // COLUMN)
    parts = [on_screen(table.iloc[first : first + beside], heading) for first in range(0, len(table), beside)]
    for part in parts[:-1]:
        part.caption = None
    screen.print(*parts, sep="\n")
    return named


def tested_images(rows: Mapping[str, "pd.DataFrame"], *, unpaired: bool) -> str:
    """How many images the runs tested, as a heading. UsageError where they are not the same, unless `unpaired`."""
    first, *others = rows
    ids = {name: set(of["id"].astype(str)) for name, of in rows.items()}
    differing = [name for name in others if ids[name] != ids[first]]
    known = {name: set(zip(of["id"], of["patient"], of["tp"] + of["fn"], strict=True)) for name, of in rows.items()}
    unlike = [name for name in others if ids[name] == ids[first] and known[name] != known[first]]
    if unlike and not unpaired:
        id = min(str(each[0]) for each in known[unlike[0]] - known[first])
        raise UsageError(
            f"{unlike[0]} and {first} tested images of the same names with other masses or patients, such as {id}: "
            "train both on the cohort as it is now, or give --unpaired to see them side by side all the same"
        )
    if not differing and not unlike:
        images = len(rows[first])
        without = ", none with mass" if all(of["truth_empty"].astype(bool).all() for of in rows.values()) else ""
        return f"{images} test image{'s' * (images != 1)}{without}"
    if not unpaired:
        other, shared = differing[0], len(ids[first] & ids[differing[0]])
        raise UsageError(
            f"{other} tested other images than {first} ({len(ids[other])} and {len(ids[first])}, {shared} in common): "
            "compare runs of the same scheme, fold and seed, take `massmatch report` for several folds and seeds, or "
            "give --unpaired to see them side by side all the same"
        )
    counts = ", ".join(f"{name} {len(of)}" for name, of in rows.items())
    return f"Not the same test images, so no comparison of losses: {counts}"


@contextmanager
def watching(title: str) -> Iterator["Callable[[Progress], None]"]:
    """A progress bar with epoch, loss, validation DSC and time left; a line per epoch where there is no terminal."""
    from rich import progress

    columns = (
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(),
        progress.TextColumn("{task.fields[state]}", markup=False),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=screen, disable=not screen.is_terminal) as bar:
        task = bar.add_task(title, state="")
        last = [0]

        def watch(now: "Progress") -> None:
            dsc = "–" if math.isnan(now.dsc) else f"{100 * now.dsc:.1f} %"
            state = f"epoch {now.epoch}/{now.epochs}  loss {now.loss:.4f}  best validation DSC {dsc}"
            state = "measuring the test images" if now.phase == "test" else state
            bar.update(task, completed=now.done, total=now.of, state=state)
            if not screen.is_terminal and now.phase == "train" and now.epoch != last[0]:
                last[0] = now.epoch
                screen.print(
                    f"{title}: epoch {now.epoch}/{now.epochs} begins, best validation DSC so far {dsc}",
                    soft_wrap=True,
                )

        yield watch


@contextmanager
def counting(title: str, unit: str, *, hidden: bool = False) -> Iterator["Callable[[int, int], None]"]:
    """A progress bar with counts and the time left, on a terminal; nothing where there is none."""
    from rich import progress

    columns = (
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TextColumn(unit, markup=False),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=screen, disable=hidden or not screen.is_terminal) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, of: bar.update(task, completed=done, total=of)


@contextmanager
def told(unit: str | None = None) -> Iterator[None]:
    """Errors that a user can mend in one line, with the README's exit code; all others keep their traceback.

    `unit`: after what the same command goes on when it was interrupted; None for one that begins anew.
    """
    shown, said = warnings.showwarning, set[str]()

    def say_once(message: Warning | str, *_: object, **__: object) -> None:
        if str(message) not in said:  # one value may be checked in several places
            said.add(str(message))
            errors.print(f"warning: {message}", style="yellow")

    warnings.showwarning = say_once
    try:
        yield
    except MassmatchError as error:
        if DEBUG.is_set():
            raise
        stop(error, error.exit_code)
    except OSError as error:  # the machine's state, not a fault of ours: a file that cannot be read, a full disk
        stop_for_own_code(error)
        if DEBUG.is_set() or error.strerror is None:
            raise
        stop(f"{error.filename or 'the system'}: {error.strerror}", FAILURE)
    except SystemExit as error:
        stop_for_own_code(error)
        raise
    except KeyboardInterrupt as end:
        again = f"goes on from the last {unit}" if unit else "begins anew"
        if not getattr(end, "resumes", True):
            again = f"begins anew: no {unit} is there"
        errors.print(f"interrupted; the same command again {again}")
        sys.exit(128 + getattr(end, "signum", signal.SIGINT))  # the training's StoppedError knows of SIGTERM
    except Exception as error:
        stop_for_own_code(error)
        errors.print(BUG, style="red")
        raise
    finally:
        warnings.showwarning = shown


def stop_for_own_code(error: BaseException) -> None:
    """Where a loss or network of one's own raised the error: its part of the traceback, one line, then out."""
    own = sys.modules.get("massmatch.losses.own")  # if that was not loaded, no code of one's own was
    if own is None or (blamed := own.blamed(error)) is None:
        return
    shown = traceback.format_exception(error) if DEBUG.is_set() else traceback.format_list(own.own_part(error))
    for text in shown:
        errors.print(text.rstrip(), style="dim")
    stop(blamed, FAILURE)


def stop(error: BaseException | str, code: int) -> NoReturn:
    """One line on stderr, then out."""
    errors.print(f"massmatch: {error}", style="red")
    sys.exit(code)
