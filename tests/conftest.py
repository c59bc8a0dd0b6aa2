"""One thread, so that several suites can share a machine; hypothesis tries the same examples every time."""

import torch
from hypothesis import settings

torch.set_num_threads(1)

settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci")
