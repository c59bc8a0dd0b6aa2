"""The pages of `massmatch app`: asked without a network, or served on loopback for a browser."""

import threading
import time
from contextlib import contextmanager

import uvicorn
from starlette.testclient import TestClient


def client(app):
    """A client whose requests name this machine, as a browser's do."""
    return TestClient(app, base_url="http://127.0.0.1")


@contextmanager
def served(app):
    """The address of a server of the application, which is gone afterwards."""
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.02)
        (socket,) = server.servers[0].sockets
        yield f"http://127.0.0.1:{socket.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(30)
