"""What all benchmarks share: timing side by side, goals beside what was measured, and their page."""

import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from typing import NamedTuple

import torch

import massmatch

Times = dict[str, list[float]]


class Goal(NamedTuple):
    """What was wanted, what was measured, and why it falls short where it does."""

    what: str
    most: float  # the goal: a number that the measured one must not exceed
    measured: float
    unit: str = ""
    why: str = ""
    at_least: bool = False  # the measured number must reach the goal instead

    @property
    def met(self) -> bool:
        """Whether the goal is reached."""
        return self.measured >= self.most if self.at_least else self.measured <= self.most

    def row(self) -> tuple[str, str, str, str]:
        """The line of the page's table."""
        bound = "at least" if self.at_least else "at most"
        said = "met" if self.met else f"**not met**: {self.why}" if self.why else "**not met**"
        return self.what, f"{bound} {self.most:g}{self.unit}", f"{self.measured:.3g}{self.unit}", said


class Section(NamedTuple):
    """A chapter of the page."""

    title: str
    goals: Sequence[Goal]
    text: str

    def markdown(self) -> str:
        """Heading, goals and tables."""
        goals = table(("goal", "wanted", "measured", ""), [goal.row() for goal in self.goals]) if self.goals else ""
        return "\n\n".join(part for part in (f"## {self.title}", goals, self.text) if part)


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table in Markdown; numbers lie to the right."""
    numbers = [all(isinstance(row[n], int | float) for row in rows) for n in range(len(head))]
    lines = [head, ["---:" if number else "---" for number in numbers]]
    lines += [[f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def take_turns(steps: Mapping[str, Callable[[], object]], rounds: int, warm: int = 1) -> Times:
    """Seconds of each step, in so many rounds of one call each: what else the machine does slows all of them alike."""
    times: Times = {name: [] for name in steps}
    for number in range(warm + rounds):
        for name, step in steps.items():
            took = seconds(step)
            if number >= warm:
                times[name].append(took)
    return times


def seconds(step: Callable[[], object]) -> float:
    """Of one call."""
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def medians(times: Times) -> dict[str, float]:
    """The median seconds of each step."""
    return {name: statistics.median(found) for name, found in times.items()}


def ratios(times: Times, base: str) -> dict[str, float]:
    """Of each step, the median over the rounds of its seconds divided by those of `base` in the same round."""
    return {
        name: statistics.median(t / b for t, b in zip(found, times[base], strict=True)) for name, found in times.items()
    }


@contextmanager
def one_thread():
    """PyTorch on a single thread; afterwards, on as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def machine() -> str:
    """The processor and the versions, in a line."""
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "monai", "numpy", "scipy"))
    python = f"Python {platform.python_version()}"
    return f"{processor()}, {torch.get_num_threads()} threads, {python}, {versions}, massmatch {massmatch.__version__}"


def processor() -> str:
    """The name of the processor, where the system tells it."""
    try:
        with open("/proc/cpuinfo") as lines:  # noqa: PTH123
            return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
