"""SIGTERM and Ctrl-C: the first lets a step end, the second ends at once."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

CAUGHT = (signal.SIGINT, signal.SIGTERM)


class StoppedError(KeyboardInterrupt):
    """A signal asked the training to end. It derives from BaseException, so that no one takes it for a failed run;
    `signum` is the signal's number, `resumes` whether an epoch is finished from which the run goes on.
    """

    def __init__(self, signum: int, resumes: bool = True) -> None:
        super().__init__(f"stopped by {signal.Signals(signum).name}")
        self.signum, self.resumes = signum, resumes

    def __reduce__(self) -> tuple[type["StoppedError"], tuple[int, bool]]:
        """What other processes need to make it again."""
        return StoppedError, (self.signum, self.resumes)


class Stop:
    """Whether a signal has asked the training to end, and which one."""

    def __init__(self) -> None:
        self.signum = 0

    def raise_if_asked(self) -> None:
        """Raise StoppedError if a signal has come."""
        if self.signum:
            raise StoppedError(self.signum)


@contextmanager
def gently(told: Callable[[int], None] = lambda signum: None) -> Iterator[Stop]:
    """Within this context the first signal is only noted, and `told` is called; a second one ends the process with 128
    + its number.

    Only in the main thread: elsewhere Python catches no signals, and whoever runs there decides.
    """
    stop, owner = Stop(), os.getpid()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def caught(signum: int, frame: FrameType | None) -> None:
        if os.getpid() != owner and signum == signal.SIGINT:  # a forked loader of data: it ends with its owner
            return
        if stop.signum or os.getpid() != owner:
            os._exit(128 + signum)
        stop.signum = signum
        told(signum)

    before = {signum: signal.signal(signum, caught) for signum in CAUGHT}
    try:
        yield stop
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
