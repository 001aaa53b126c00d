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
    """Is ready as soon as the kernel is: jupyter_client's own waits 0.2 s more for output that may still come."""

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
        """Ask once. Output arrives from then on if the output channel tells that this very question is done."""
        self.kernel_info()
        try:
            reply = await self.get_shell_msg(timeout=_ASK_AGAIN_SECONDS)
            asked = reply["parent_header"].get("msg_id")
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
