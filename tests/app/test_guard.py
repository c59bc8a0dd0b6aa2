"""The pages belong to this machine: no other host, no other site, nothing from outside."""

import asyncio
import re
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest
from typer.testing import CliRunner

from massmatch.app import server
from massmatch.app.server import PAGES, build
from massmatch.cli import app
from serving import client

PATHS = ["/bench", "/read", "/pages/bench.js", "/pages/app.css", "/api/losses", "/api/presets", "/nothing"]


@pytest.mark.parametrize("path", PATHS)
def test_every_answer_keeps_to_itself(path):
    answer = client(build()).get(path)
    assert answer.status_code == (404 if path == "/nothing" else 200)
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "192.168.0.1"])
def test_another_host_is_refused(host):
    assert client(build()).get("/bench", headers={"host": host}).status_code == 400


def test_another_site_is_refused_and_the_own_one_is_not():
    ask = client(build())
    for origin in ("http://evil.example", "null", "http://127.0.0.1:9999", "https://127.0.0.1"):
        assert ask.get("/api/losses", headers={"origin": origin}).status_code == 403
    assert ask.get("/api/losses", headers={"origin": "http://127.0.0.1"}).status_code == 200


@pytest.mark.parametrize("path", ["/pages/../server.py", "/pages/%2e%2e/server.py", "/pages//etc/passwd"])
def test_nothing_else_of_the_disk_is_served(path):
    assert client(build()).get(path).status_code == 404


def test_the_pages_ask_for_nothing_outside_and_hold_no_scripts_of_their_own():
    for page in PAGES.iterdir():
        text = page.read_text()
        assert not re.search(r"https?://|//[a-z]+\.", text), page.name
        if page.suffix == ".html":
            assert not re.search(r"<script(?![^>]* src=)|<style|\sstyle=|\son\w+=", text), page.name
    assert server.HOST == "127.0.0.1"


def test_the_first_page_is_the_bench():
    answer = client(build()).get("/", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (307, "/bench")


def test_a_page_that_is_left_while_it_sends_is_no_error():
    """The server would print a traceback for a file whose second half never comes."""
    said, parts = [], iter([{"type": "http.request", "body": b"abc", "more_body": True}, {"type": "http.disconnect"}])
    scope = {
        **{"type": "http", "http_version": "1.1", "method": "POST", "path": "/api/images", "raw_path": b"/api/images"},
        **{"query_string": b"name=a.png", "headers": [(b"host", b"127.0.0.1")], "scheme": "http"},
        **{"server": ("127.0.0.1", 80), "client": ("127.0.0.1", 1), "root_path": ""},
    }

    async def receive():
        return next(parts)

    async def send(message):
        said.append(message)

    with ThreadPoolExecutor(1) as apart:  # a test with a browser leaves a loop of its own in the main thread
        apart.submit(asyncio.run, build()(scope, receive, send)).result()
    assert said[0]["status"] == 400


def test_a_port_on_which_another_program_answers_is_refused_before_its_address_is_shown():
    """It ended with 3, which is the code of wrong data, below the address of the other program."""
    with socket.socket() as other:
        other.bind((server.HOST, 0))
        other.listen()
        port = other.getsockname()[1]
        result = CliRunner().invoke(app, ["app", "--port", str(port)])
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"massmatch: --port: must be free, but another program answers on {port}")
