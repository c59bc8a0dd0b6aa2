"""Put the network of a run into the package: `python docs/package_weights.py RUN COHORT`.

Writes the weights in float16 with all that predicting needs to know (src/massmatch/weights), and the model card.
"""

import sys
from pathlib import Path

from massmatch.inference.packaged import PACKAGED
from massmatch.runs.folder import WEIGHTS, RunFolder
from massmatch.runs.weights import halve

LARGEST = 10_000_000  # bytes: the wheel is for everybody, also for those who train networks of their own

if __name__ == "__main__":
    run = RunFolder.find(Path(sys.argv[1]))
    halve(run / WEIGHTS, PACKAGED)
    size = PACKAGED.stat().st_size
    if size > LARGEST:
        sys.exit(f"{PACKAGED} takes {size} bytes, more than {LARGEST}: package a narrower network")
    print(f"{PACKAGED}: {size} bytes")
