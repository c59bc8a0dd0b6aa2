"""How long the program takes to begin: whole processes, medians of several."""

import statistics
import subprocess
import sys

from measuring import Goal, Section, seconds, table


def process(*arguments: str) -> float:
    """Seconds of a Python process."""
    return seconds(lambda: subprocess.run([sys.executable, *arguments], capture_output=True, check=False))


def section(*, quick: bool = False) -> Section:
    """The chapter on the start."""
    calls = {
        "python alone": ("-c", "pass"),
        "massmatch --help": ("-m", "massmatch", "--help"),
        "massmatch train, a mistyped path": ("-m", "massmatch", "train", "nowhere"),
        "massmatch report, a mistyped path": ("-m", "massmatch", "report", "nowhere"),
        "import torch": ("-c", "import torch"),
        "import torch, massmatch.losses": ("-c", "import torch, massmatch.losses"),
    }
    turns = [{name: process(*call) for name, call in calls.items()} for _ in range(2 if quick else 7)]
    found = {name: statistics.median(turn[name] for turn in turns) for name in calls}
    over = statistics.median(
        turn["import torch, massmatch.losses"] - turn["import torch"] for turn in turns
    )  # within a turn, since the machine may change from one to the next
    goals = [
        Goal("massmatch --help", 0.4, found["massmatch --help"], " s"),
        Goal("a mistyped path", 1, max(took for name, took in found.items() if "mistyped" in name), " s"),
        Goal("import massmatch.losses, over import torch", 0.1, over, " s"),
    ]
    return Section("The start of the program", goals, table(("process", "seconds"), list(found.items())))
