"""A folder that one process at a time may write."""

import pytest
from filelock import FileLock

from massmatch.errors import UsageError
from massmatch.hold import held


def test_whoever_comes_while_a_hold_ends_holds_the_folder_alone(tmp_path, monkeypatch):
    """The file was removed after it had been let go, when it was another's already: a third one made a new one."""
    lock, release = tmp_path / ".lock", FileLock.release
    second = FileLock(lock, is_singleton=False)

    def and_the_second_comes(self, force=False):
        monkeypatch.undo()
        release(self, force)
        second.acquire(blocking=False)

    with held(tmp_path, lock):
        monkeypatch.setattr(FileLock, "release", and_the_second_comes)
    assert second.is_locked
    with pytest.raises(UsageError, match="is being written by another process"), held(tmp_path, lock):
        pass
    second.release()
