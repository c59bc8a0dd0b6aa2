"""How runs are shown: a table, live on a terminal; a line per event elsewhere."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.live import Live
from rich.table import Table
from rich.text import Text

from massmatch.cli.screen import screen
from massmatch.wording import count

if TYPE_CHECKING:
    from massmatch.sweeps.status import Status

COLOURS = {
    "done": "green",
    "running": "cyan",
    "interrupted": "yellow",
    "failed": "red",
    "damaged": "red",
    "never started": "dim",
}
UNKNOWN = "–"
MOST_REASONS = 3  # of failures below a table that must fit a terminal


def duration(seconds: float | None) -> str:
    """As people say it: 45 s, 3 min, 2 h 10 min, 3 d 4 h."""
    if seconds is None or math.isnan(seconds):
        return UNKNOWN
    if seconds < 60:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    hours, days = minutes // 60, minutes // 1440
    if minutes < 60:
        return f"{minutes} min"
    return f"{hours} h {minutes % 60} min" if hours < 24 else f"{days} d {hours % 24} h"


def percent(share: float | None) -> str:
    """A fraction in percent, with one decimal."""
    return UNKNOWN if share is None else f"{100 * share:.1f} %"


def name_of(status: "Status", *, with_seed: bool = True) -> str:
    """Of a run, in a line of text."""
    return f"{status.label}, fold {status.fold}" + (f", seed {status.seed}" if with_seed else "")


def summary(states: Sequence["Status"], left: float | None) -> str:
    """How many are in which state, and the time left."""
    counts = Counter(each.state for each in states)
    parts = [f"{counts[state]} {state}" for state in counts]
    text = f"{count(len(states), 'run')}: {', '.join(parts)}"
    return text if left is None or left == 0 else f"{text}; about {duration(left)} left"


def table(states: Sequence["Status"], left: float | None, rows: int | None = None) -> Table:
    """A row per run. Where there are more than `rows`, those that are done or never started are only counted."""
    shown = states
    if rows is not None and len(states) > rows:
        shown = [each for each in states if each.state not in ("done", "never started")][:rows]
    columns = ("run", "fold", "seed", "state", "epoch", "val. DSC", "per epoch", "left")
    failed = [each for each in states if each.state in ("failed", "damaged")]
    reasons = [f"{name_of(each)}: {each.reason}" for each in failed[: MOST_REASONS if rows is not None else None]]
    caption = Text("\n".join([summary(states, left), *reasons]))  # a Text is no markup
    drawn = Table(*columns, box=None, pad_edge=False, caption=caption, caption_justify="left")
    for each in shown:
        drawn.add_row(
            Text(each.label),
            str(each.fold),
            str(each.seed),
            Text(each.state, COLOURS[each.state]),
            f"{each.epoch}/{each.epochs or UNKNOWN}",
            percent(each.best_dsc),
            duration(each.epoch_seconds),
            "" if each.state in ("done", "failed", "damaged") else duration(each.seconds_left),
        )
    return drawn


def line(status: "Status") -> str:
    """A run where there is no terminal."""
    text = f"{name_of(status)}: {status.state}, epoch {status.epoch}"
    if status.epochs:  # 0: its experiment.yaml, which says it, cannot be read
        text += f" of {status.epochs}"
    if status.epoch:
        text += f", best validation DSC {percent(status.best_dsc)}, {duration(status.epoch_seconds)} per epoch"
    if status.state in ("running", "interrupted") and status.seconds_left is not None:
        text += f", {duration(status.seconds_left)} left"
    return f"{text}: {status.reason}" if status.reason else text


def plainly(text: str) -> None:
    """Print a line as it is, where there is no terminal."""
    screen.print(text, soft_wrap=True)


class Board:
    """Shows states as they change."""

    def __init__(self, states: Sequence["Status"]) -> None:
        self.before = list(states)
        self.with_seed = len({each.seed for each in states}) > 1
        self.live = Live(console=screen, auto_refresh=False, transient=True) if screen.is_terminal else None

    def __enter__(self) -> "Board":
        if self.live:
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.live:
            self.live.stop()

    def show(self, states: Sequence["Status"], left: float | None) -> None:
        """The table anew, or a line for each run whose state has changed."""
        if self.live:
            self.live.update(table(states, left, max(3, screen.height - 5)), refresh=True)
        else:
            for old, new in zip(self.before, states, strict=True):
                if old.state != new.state:
                    plainly(self.event(old, new, states, left))
        self.before = list(states)

    def event(self, old: "Status", new: "Status", states: Sequence["Status"], left: float | None) -> str:
        """Show what has happened to a run."""
        text = f"{name_of(new, with_seed=self.with_seed)}: {new.state}"
        if new.state == "running":
            again = new.epoch > 0 and old.state != "never started"
            return f"{text} again, after epoch {new.epoch} of {new.epochs}" if again else text
        if new.state in ("failed", "damaged"):
            return f"{text}: {new.reason}"
        if new.state != "done":
            return text
        done = sum(each.state == "done" for each in states)
        rest = f", about {duration(left)} left" if left else ""
        return f"{text}, best validation DSC {percent(new.best_dsc)} ({done} of {len(states)} done{rest})"
