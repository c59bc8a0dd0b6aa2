"""A folder whose names this user may not read. Whoever runs the tests may be root, who may read everything."""

import errno
import os
from pathlib import Path


def close(monkeypatch, folder):
    """From now on the folder cannot be listed."""
    listed = os.scandir

    def scandir(path):
        if Path(path) == folder:
            raise PermissionError(errno.EACCES, "Permission denied", str(folder))
        return listed(path)

    monkeypatch.setattr(os, "scandir", scandir)
