"""One run in a process of its own: `python -m massmatch.sweeps.engines.worker`, with a Job as the first line of stdin.

Nothing else is written to stdin. When it ends, whoever started this process has let go of it or is dead, and the run
stops as at Ctrl-C: no run outlives its sweep. What is printed lands in the run's log.txt.
"""

import _thread
import math
import sys
import threading
import time

from massmatch.data import open_cohort
from massmatch.errors import UsageError
from massmatch.runs.failure import reason_of, write_failure
from massmatch.runs.lock import HeldError
from massmatch.sweeps.job import Job
from massmatch.training.progress import Progress
from massmatch.training.run import run

DONE, FAILURE, HELD, INTERRUPTED = 0, 1, 75, 130  # 75: "try again later" of sysexits.h


def main() -> int:
    """Do the job; one of the codes above."""
    job = Job.from_json(sys.stdin.readline())
    threading.Thread(target=stop_with_stdin, daemon=True).start()
    try:
        return work(job)
    except KeyboardInterrupt:
        say("stopped; the same sweep goes on from the last checkpoint")
        return INTERRUPTED


def work(job: Job) -> int:
    """Train and measure; a failure is written down with its traceback."""
    try:
        cohort = open_cohort(job.cohort)
        if cohort.fingerprint != job.run.experiment.fingerprint:
            raise UsageError(f"{job.cohort} has changed since the sweep began: start the sweep again")
        run(job.run.experiment, cohort, job.run.fold, job.runs, Log(), speed=job.speed, **job.options)
    except HeldError as error:
        say(str(error))
        return HELD
    except (Exception, SystemExit) as error:  # code of one's own may end the program, with the code of success too
        say(write_failure(job.folder, reason_of(error), error).reason)
        return FAILURE
    say("done")
    return DONE


def stop_with_stdin() -> None:
    """Interrupt the main thread when stdin ends."""
    sys.stdin.read()
    _thread.interrupt_main()


class Log:
    """A line when an epoch begins, and when the test images are measured."""

    def __init__(self) -> None:
        self.last = ("", 0)

    def __call__(self, now: Progress) -> None:
        if (now.phase, now.epoch) != self.last:
            self.last = (now.phase, now.epoch)
            epoch = f": epoch {now.epoch} of {now.epochs}" if now.phase == "train" else ""
            dsc = "" if not epoch or math.isnan(now.dsc) else f", best validation DSC so far {now.dsc:.4f}"
            say(now.phase + epoch + dsc)


def say(text: str) -> None:
    """Print a line that begins with the time."""
    print(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
