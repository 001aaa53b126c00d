"""Starting JupyterLab: ports, options, and what the learner is told."""

import os
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from autograder.errors import LaunchError
from autograder.launch import lab


@pytest.fixture
def busy_port():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


@pytest.mark.parametrize("spelling", ["--port={}", "--port {}", "--ServerApp.port={}"])
def test_a_port_that_was_asked_for_and_is_in_use_is_one_clear_message(busy_port, spelling):
    with pytest.raises(LaunchError, match=f"port {busy_port} is in use.*make learn LAB_ARGS="):
        lab.choose_port(spelling.format(busy_port).split())


def test_without_a_wish_the_next_free_port_is_taken_and_named(busy_port, monkeypatch, capsys):
    monkeypatch.setattr(lab, "FIRST_PORT", busy_port)
    port = lab.choose_port([])
    assert port > busy_port
    assert f"Port {busy_port} is in use; taking {port}." in capsys.readouterr().out


@pytest.mark.parametrize("wish", ["eighty", "99999", "0", ""])
def test_a_port_that_is_no_port_is_named(wish):
    with pytest.raises(LaunchError, match="expected a port number"):
        lab.choose_port([f"--port={wish}"])


@pytest.mark.parametrize(
    "given", [["--port", "9000"], ["--port=9000"], ["--ServerApp.root_dir=/elsewhere"], ["--log-level=INFO"]]
)
def test_the_learners_option_replaces_ours(tmp_path, given):
    """JupyterLab refuses to start when an option comes twice."""
    names = [part.split("=")[0] for part in lab.command(tmp_path, given, 9000) if part.startswith("--")]
    assert len(names) == len(set(names))
    assert lab.command(tmp_path, given, 9000)[-len(given) :] == given


def test_no_browser_is_opened_where_there_is_no_screen(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert "--no-browser" in lab.command(tmp_path, [], 8888)
    monkeypatch.setenv("DISPLAY", ":0")
    assert "--no-browser" not in lab.command(tmp_path, [], 8888)


def test_the_token_is_not_on_the_command_line_where_others_could_read_it(tmp_path):
    assert not [
        part
        for part in lab.command(tmp_path, [], 8888)
        if part.lower().startswith("--") and "token" in part.split("=")[0].lower()
    ]


def test_a_configuration_of_the_learners_own_is_still_read(monkeypatch):
    monkeypatch.setenv("JUPYTER_CONFIG_PATH", "/my/config")
    assert lab.lab_environment()["JUPYTER_CONFIG_PATH"] == os.pathsep.join([str(lab.LAB_CONFIG), "/my/config"])


def test_a_server_that_stops_at_once_is_reported():
    stopped = subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"])
    stopped.wait()
    with pytest.raises(LaunchError, match="stopped before it was ready"):
        lab.wait_until_ready(stopped, 1, "token")


def test_another_server_on_the_port_is_not_taken_for_ours(monkeypatch):
    """GIVEN a server that refuses our token, and ours stopping WHEN we wait THEN the stop is noticed."""

    class Refuses(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_error(403)

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Refuses) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        ours = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1)"])
        with pytest.raises(LaunchError, match="stopped before it was ready"):
            lab.wait_until_ready(ours, other.server_port, "token")
        other.shutdown()
