"""Measure everything, and write docs/benchmarks.md: `make bench`.

python benchmarks/write.py                    all of it, in some five minutes on two idle cores
python benchmarks/write.py --quick losses     few rounds of one chapter, printed and not written
"""

import argparse
import datetime
from pathlib import Path

import losses
import metrics
import prepare
import programs
import startup
import training
from measuring import machine

PAGE = Path(__file__).parents[1] / "docs/benchmarks.md"
CHAPTERS = {
    "losses": losses.section,
    "rivals": losses.rivals,
    "training": training.section,
    "startup": startup.section,
    "metrics": metrics.section,
    "prepare": prepare.section,
    "programs": programs.section,
}
HEAD = """# Benchmarks

Written by `make bench`, which measures all of it anew in some five minutes; `benchmarks/` has the scripts. Each goal
stands beside what was measured and, where it falls short, why. What is compared takes turns in one process, and ratios
are medians over these turns, so that they say more than the times themselves.

All of it is measured on the CPU. On an NVIDIA GPU `python benchmarks/gpu.py` measures the losses in a minute; none was
at hand since they pass over the pixels once, so the goals for a GPU (at most DiceCELoss's time for the 24, 1.5 times
for `soft-sm` with a random phase, no waiting for the host) are neither met nor missed.
"""


def main() -> None:
    """Write the page, or print the chapters that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("chapters", nargs="*", choices=[*CHAPTERS, []], help="by default all, and the page is written")
    parser.add_argument("--quick", action="store_true", help="few rounds, to see that it works")
    asked = parser.parse_args()
    found = []
    for name in asked.chapters or CHAPTERS:
        print(f"{name} ...", flush=True)
        found.append(CHAPTERS[name](quick=asked.quick).markdown())
        print(found[-1], flush=True)
    if not asked.chapters:
        when = f"{datetime.date.today():%d %B %Y}"
        PAGE.write_text("\n\n".join([f"{HEAD}\nMeasured on {when}: {machine()}.", *found]) + "\n")


if __name__ == "__main__":
    main()
