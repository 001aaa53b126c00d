"""Kernels for Jupyter's own kernel managers, from a warm process and in a sandbox: a kernel provisioner.

Registered as ``autograder-warm``; a kernel spec asks for it in its metadata, and sets it up there::

    "metadata": {"kernel_provisioner": {"provisioner_name": "autograder-warm",
                                        "config": {"warm": true, "confinement": {"mode": "required"}}}}

or traitlets' configuration does (``c.WarmProvisioner.confinement``).
"""

from __future__ import annotations

import asyncio
import os
import signal
from importlib.metadata import EntryPoint

from jupyter_client.provisioning import KernelProvisionerBase, KernelProvisionerFactory
from traitlets import Bool, Dict, List, Unicode

from autograder.grading.confine import Confinement, Sandbox, decide
from autograder.grading.scratch import Scratch
from autograder.grading.warm.child import Child
from autograder.grading.warm.client import MODULES, Warm, start_child
from autograder.grading.warm.kernel_environment import kernel_environment

NAME = "autograder-warm"
_ONLY_WATCHED = (
    "no control groups can be made here, and Linux does not limit root's processes: memory and processes are only "
    "watched, and a fork bomb may slow the machine down before it is stopped. Grade as an ordinary user."
)


def register() -> None:
    """Make the provisioner known to this process, also where the package is not installed."""
    factory = KernelProvisionerFactory.instance()
    factory.provisioners.setdefault(NAME, EntryPoint(NAME, f"{__name__}:WarmProvisioner", factory.GROUP_NAME))


class WarmProvisioner(KernelProvisionerBase):
    """One kernel: forked from the warm process of this process, in a sandbox of its own.

    Attributes
    ----------
    child : Child or None
        The kernel's process.
    is_confined, is_warm : bool
        What became of what was asked.
    remarks : list of str
        What whoever grades must be told.
    reason : str
        Which limit ended the kernel, or "".
    """

    warm = Bool(True, help="Whether to fork kernels from a process that has imported everything.").tag(config=True)
    modules = List(Unicode(), list(MODULES), help="What that process imports.").tag(config=True)
    confinement = Dict(help="Settings of the sandbox, as autograder.grading.confine.Confinement.").tag(config=True)
    environment = Dict(help="More environment variables for the kernel.").tag(config=True)

    def __init__(self, **settings) -> None:
        super().__init__(**settings)
        self.child: Child | None = None
        self.sandbox: Sandbox | None = None
        self.is_confined = self.is_warm = False
        self.remarks: list[str] = []
        self.reason = ""
        self._scratch: Scratch | None = None

    @property
    def has_process(self) -> bool:
        """Is there a kernel that was not cleaned up?"""
        return self.child is not None

    async def pre_launch(self, **settings) -> dict:
        """Move the kernel's sockets into a folder of their own, which is all that it shares with us."""
        manager = self.parent
        self._scratch = Scratch()
        folder = self._scratch.path
        manager.transport = "ipc"
        manager.connection_file = str(folder / "k.json")
        manager.ip = str(folder / "k")
        manager.write_connection_file()
        self.connection_info = manager.get_connection_info()
        command = manager.format_kernel_cmd(extra_arguments=settings.pop("extra_arguments", []))
        return await super().pre_launch(cmd=command, **settings)

    async def launch_kernel(self, cmd: list[str], **settings) -> dict:
        """Start the kernel; ``cmd`` is ``python -m ipykernel_launcher`` and its arguments."""
        try:
            await asyncio.to_thread(self._launch, cmd, settings)
        except BaseException:
            await self.cleanup()
            raise
        return self.connection_info

    def _launch(self, cmd: list[str], settings: dict) -> None:
        confinement = Confinement.from_json(self.confinement)
        self.is_confined, remark = decide(confinement)
        folder = os.path.abspath(settings.get("cwd") or self._scratch.path)
        environment = kernel_environment(settings["env"], self._scratch.path, self.is_confined)
        request = {
            "argv": cmd[cmd.index("ipykernel_launcher") + 1 :],
            "environment": {**environment, **self.environment},
            "folder": folder,
            "rlimits": confinement.rlimits(self.is_confined),
        }
        if self.is_confined:
            self.sandbox = Sandbox(str(self._scratch.path), [folder], confinement)
            if not self.sandbox.groups and os.getuid() == 0:
                self.remarks.append(_ONLY_WATCHED)
        warm = Warm.shared(self.modules) if self.warm else None
        self.child, cold = start_child("kernel", request, {}, self.sandbox, warm)
        self.is_warm = self.child.warm
        self.remarks += [said for said in (remark, cold) if said]

    async def poll(self) -> int | None:
        """Return the exit status, or None while the kernel runs."""
        return 0 if self.child is None else self.child.poll()

    async def wait(self) -> int | None:
        """Wait for the kernel's end, and let go of it."""
        code = 0
        if self.child is not None:
            code = await asyncio.to_thread(self.child.wait)
            self._let_go()
        return code

    async def send_signal(self, signum: int) -> None:
        """Send the kernel a signal."""
        if self.child is not None and signum:
            self.child.send_signal(signum)

    async def kill(self, restart: bool = False) -> None:
        """End the kernel and all it started."""
        if self.child is not None:
            self._note_reason()
            self.child.kill()

    async def terminate(self, restart: bool = False) -> None:
        """Ask the kernel to end."""
        await self.send_signal(signal.SIGTERM)

    async def cleanup(self, restart: bool = False) -> None:
        """Remove all that was made for the kernel."""
        await self.kill()
        self._let_go()
        if self._scratch:
            self._scratch.close()
            self._scratch = None

    def kill_now(self) -> None:
        """Like ``kill``, from any thread."""
        child = self.child
        if child is not None:
            self._note_reason()
            child.kill()

    def why(self) -> str:
        """Return which limit the kernel has passed, or ""."""
        self._note_reason()
        return self.reason

    def _note_reason(self) -> None:
        if self.sandbox and not self.reason:
            self.reason = self.sandbox.reason

    def _let_go(self) -> None:
        self._note_reason()
        if self.sandbox:
            self.sandbox.close()
            self.sandbox = None
        if self.child:
            self.child.close()
            self.child = None
