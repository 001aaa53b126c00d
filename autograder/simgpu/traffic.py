"""The half of the ledger that counts copies and waits."""

from __future__ import annotations

import warnings

from autograder.simgpu import frames
from autograder.simgpu.allocator import stream_key
from autograder.simgpu.device_asserts import ASSERTS
from autograder.simgpu.devices import DEVICES

_SYNC = "called a synchronizing CUDA operation"


class Traffic:
    """Copies and waits of Ledger, which has the attributes used here."""

    def _zero(self) -> None:
        self._h2d_count = self._h2d_bytes = self._d2h_count = self._d2h_bytes = self._syncs = 0
        self._peer_count = self._peer_bytes = 0

    def finished(self, device: int, stream: int | None = None) -> None:
        """The host waited for a stream of a device, or for the whole device."""
        with self._lock:
            if stream is None:
                self.timeline.synchronize_all(self.allocators[device].is_mine)
            else:
                self.timeline.synchronize(stream_key(device, stream))

    def copied_to_device(self, nbytes: int) -> None:
        """Count one host-to-device copy."""
        with self._lock:
            self._h2d_count += 1
            self._h2d_bytes += nbytes

    def copied_to_host(self, nbytes: int) -> None:
        """Count one device-to-host copy."""
        with self._lock:
            self._d2h_count += 1
            self._d2h_bytes += nbytes

    def copied_to_peer(self, nbytes: int, source: int, destination: int) -> None:
        """Count one copy from a simulated device to another. It runs on the source's stream, after what the
        destination's has been given, which goes on after it (copy_device_to_device, ATen/native/cuda/Copy.cu)."""
        with self._lock:
            self._peer_count += 1
            self._peer_bytes += nbytes
            here, there = (stream_key(d, self.stream_now(d) if self.stream_now else 0) for d in (source, destination))
            self.timeline.wait(here, self.timeline.mark(there))
            self.timeline.wait(there, self.timeline.mark(here))

    def synced(self, times: int = 1) -> None:
        """Count an operation that makes the host wait for the current stream; warn or raise in the sync debug modes 1 and 2, as CUDA does."""
        with self._lock:
            self._syncs += times
        if self.stream_now is not None:
            index = DEVICES.current()
            self.finished(index, self.stream_now(index))
        ASSERTS.report()
        if self.sync_mode == 1:
            warnings.warn(_SYNC, stacklevel=frames.user_stacklevel())
        elif self.sync_mode == 2:
            raise RuntimeError(_SYNC)

    def waited(self) -> None:
        """Count a wait that never warns: synchronize(), a non-blocking copy of pageable memory."""
        with self._lock:
            self._syncs += 1
        ASSERTS.report()
