"""Kernel managers for grading: their kernels are warm and confined, start and end without waiting."""

from __future__ import annotations

import sys
import time
from queue import Empty

import zmq
import zmq.asyncio
from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from traitlets import Type

from autograder.grading.confine import Confinement
from autograder.grading.warm import provisioner

_ASK_AGAIN_SECONDS = 0.25
LARGEST_MESSAGE = 64 << 20
"""Bytes; whoever sends a larger one is cut off before it fills the memory of the process that grades."""


class QuickClient(AsyncKernelClient):
    """Is ready as soon as the kernel is: jupyter_client's own waits 0.2 s more for output that may still come.

    And it knows when a kernel's output was cut off.
    """

    _output = _monitor = None

    def connect_iopub(self, identity: bytes | None = None) -> zmq.asyncio.Socket:
        """Connect to the kernel's output, and watch the connection."""
        self._output = super().connect_iopub(identity)
        self._monitor = self._output.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        return self._output

    def cut_off(self) -> bool:
        """Was the kernel's output cut off: by a message that is too large, or by the kernel's end?"""
        return self._monitor is not None and bool(self._monitor.getsockopt(zmq.EVENTS) & zmq.POLLIN)

    def stop_channels(self) -> None:
        """Stop watching and listening."""
        if self._output is not None:
            self._output.disable_monitor()
            self._output = self._monitor = None
        super().stop_channels()

    def _context_default(self) -> zmq.asyncio.Context:
        self._created_context = True
        context = zmq.asyncio.Context()
        context.setsockopt(zmq.MAXMSGSIZE, LARGEST_MESSAGE)
        return context

    async def wait_for_ready(self, timeout: float | None = None) -> None:
        """Ask until an answer has come on both channels. Raises RuntimeError."""
        deadline = time.monotonic() + (timeout or 60)
        while not await self._answered():
            if not await self._async_is_alive():
                raise RuntimeError("the kernel ended before it was ready")
            if time.monotonic() > deadline:
                raise RuntimeError(f"the kernel was not ready after {timeout:g} s")

    async def _answered(self) -> bool:
        """Ask once. Output arrives from then on if the output channel tells that this very question is done.

        Answers to earlier questions are passed over: a slow start leaves many, and what the output channel told of
        them is gone.
        """
        asked = self.kernel_info()
        try:
            while (reply := await self.get_shell_msg(timeout=_ASK_AGAIN_SECONDS))["parent_header"]["msg_id"] != asked:
                pass
            while True:
                said = await self.get_iopub_msg(timeout=_ASK_AGAIN_SECONDS)
                if said["parent_header"].get("msg_id") == asked and said["content"].get("execution_state") == "idle":
                    self._handle_kernel_info_reply(reply)
                    return True
        except Empty:
            return False


class GradingManager(AsyncKernelManager):
    """Starts the Python of this process as a kernel, whatever a notebook asks for."""

    client_factory = Type(QuickClient)

    async def _async_wait(self, pollinterval: float = 0.1) -> None:
        if self.provisioner is not None:
            await self.provisioner.wait()


def grading_manager(confinement: Confinement, warm: bool, environment: dict[str, str]) -> GradingManager:
    """Return a manager whose kernels get this confinement and, besides the usual, this environment."""
    provisioner.register()
    manager = GradingManager(kernel_name="python3")
    settings = {"confinement": confinement.to_json(), "warm": warm, "environment": environment}
    manager._kernel_spec = KernelSpec(
        argv=[sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        language="python",
        display_name="Python 3",
        metadata={"kernel_provisioner": {"provisioner_name": provisioner.NAME, "config": settings}},
    )
    return manager
