"""A person at JupyterLab, as far as the tests need one: open, run, type, move, look."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

from playwright.sync_api import Locator, Page, expect

ROOT = Path(__file__).resolve().parents[2]
SCREENSHOTS = ROOT / "screenshots"
PATIENCE = 120_000  # milliseconds; two slow cores import torch and run a whole lesson within it

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM_OPTIONS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
]  # fmt: skip

_START = """
import sys
from pathlib import Path
from autograder.launch import lab, workspace

root = Path(sys.argv[1])
workspace.prepare(root)
sys.exit(lab.start(root, ["--no-browser", f"--port={sys.argv[2]}"]))
"""

# JupyterLab keeps cells that are out of sight out of the page; tests look at all of them.
_ALL_CELLS_IN_THE_PAGE = '{"windowingMode": "none"}'


def find_chromium() -> str | None:
    """Return the path of Chromium: $CHROMIUM, or the first known name on PATH."""
    names = [name for name in (os.environ.get("CHROMIUM"), *CHROMIUM_NAMES) if name]
    return next(filter(None, map(shutil.which, names)), None)


def _free_port() -> int:
    """Return a port far from JupyterLab's own first choice, so that test runs side by side do not meet."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Lab:
    """A JupyterLab started as `make learn` starts it, on a course in a folder of its own."""

    def __init__(self, course: Path):
        self.course = course
        settings = course / "settings" / "@jupyterlab" / "notebook-extension"
        settings.mkdir(parents=True)
        (settings / "tracker.jupyterlab-settings").write_text(_ALL_CELLS_IN_THE_PAGE)
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            "OMP_NUM_THREADS": "1",
            "AUTOGRADER_DEVICE": "simgpu",
            "IPYTHONDIR": str(course / "ipython"),
            "JUPYTER_CONFIG_DIR": str(course / "config"),
            "JUPYTER_RUNTIME_DIR": str(course / "runtime"),
            "JUPYTERLAB_SETTINGS_DIR": str(course / "settings"),
            "JUPYTERLAB_WORKSPACES_DIR": str(course / "workspaces"),
        }
        command = [sys.executable, "-c", _START, str(course), str(_free_port())]
        self.process = subprocess.Popen(
            command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.log: list[str] = []
        self.address, self.token = self._read_address()
        threading.Thread(target=lambda: self.log.extend(self.process.stdout), daemon=True).start()

    def _read_address(self) -> tuple[str, str]:
        for line in self.process.stdout:
            self.log.append(line)
            found = re.search(r"(http://localhost:\d+)/lab/tree/\S+\?token=(\w+)", line)
            if found:
                return found.groups()
        raise AssertionError("JupyterLab did not start:\n" + "".join(self.log))

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(30)


class Notebook:
    """One notebook, open in the browser."""

    def __init__(self, page: Page, lab: Lab, path: str):
        self.page = page
        page.goto(f"{lab.address}/lab/tree/{path}?token={lab.token}")
        self.cells = page.locator(".jp-Notebook .jp-Cell")
        expect(self.cells.first).to_be_visible(timeout=PATIENCE)
        expect(page.get_by_text("Python 3 (ipykernel) | Idle")).to_be_visible(timeout=PATIENCE)

    def wait_until_idle(self) -> None:
        """Return when no cell waits for its turn and the kernel rests."""
        expect(self.page.locator(".jp-InputArea-prompt", has_text="[*]")).to_have_count(0, timeout=PATIENCE)
        expect(self.page.get_by_text("Python 3 (ipykernel) | Idle")).to_be_visible(timeout=PATIENCE)

    def cell_with(self, source: str) -> Locator:
        """Return the code cell whose source contains this text."""
        return (
            self.page.locator(".jp-Notebook .jp-CodeCell")
            .filter(has=self.page.locator(".jp-Cell-inputWrapper", has_text=source))
            .first
        )

    def run_all(self) -> None:
        self.page.get_by_role("menuitem", name="Run", exact=True).click()
        self.page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        self.page.wait_for_timeout(500)
        self.wait_until_idle()

    def run(self, cell: Locator) -> None:
        """Run one cell, as Ctrl+Enter does."""
        cell.locator(".jp-InputPrompt").click()
        self.page.keyboard.press("Control+Enter")
        self.page.wait_for_timeout(300)
        self.wait_until_idle()

    def type_into(self, cell: Locator, source: str) -> None:
        """Replace a cell's source by what a person would type or paste."""
        cell.locator(".cm-content").click()
        self.page.keyboard.press("Control+A")
        self.page.keyboard.insert_text(source)

    @staticmethod
    def output(cell: Locator) -> str:
        """Return what the cell shows below it, as text."""
        area = cell.locator(".jp-Cell-outputWrapper")
        return area.inner_text() if area.count() else ""

    @staticmethod
    def pictures(cell: Locator) -> list[str]:
        """Return the pictures below the cell, by their data."""
        return [picture.get_attribute("src") for picture in cell.locator(".jp-Cell-outputWrapper img").all()]

    @staticmethod
    def alternative_text(cell: Locator) -> str:
        """Return what a screen reader says of the picture below the cell."""
        return cell.locator(".jp-Cell-outputWrapper img").get_attribute("alt") or ""

    def save(self) -> None:
        self.page.keyboard.press("Control+S")
        self.page.wait_for_timeout(1000)

    def screenshot(self, name: str, of: Locator | None = None) -> Path:
        """Keep a picture for a person to look at; git ignores the folder."""
        SCREENSHOTS.mkdir(exist_ok=True)
        path = SCREENSHOTS / f"{name}.png"
        (of or self.page).screenshot(path=path)
        return path
