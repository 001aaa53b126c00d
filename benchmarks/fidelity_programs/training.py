"""Training steps: each model, optimizer and precision that the comparison covers, and reading memory after each step."""

from __future__ import annotations

import contextlib
import gc
from dataclasses import dataclass

import torch

from benchmarks.fidelity_programs.models import MODELS

OPTIMIZERS = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, 0.01, momentum=0.9),
    "adam": torch.optim.Adam,
    "adamw": lambda parameters: torch.optim.AdamW(parameters, foreach=True),
    "adamw-fused": lambda parameters: torch.optim.AdamW(parameters, fused=True),
}
PRECISIONS = {"fp32": None, "fp16": torch.float16, "bf16": torch.bfloat16}
STEPS = 5
_LOSS_SCALE = 2.0**4
"""Too small to overflow: a step that is skipped makes no optimizer state, and which one is depends on rounding."""


@dataclass(frozen=True)
class Program:
    """One training run. ``micro_batches`` above 1 accumulates gradients and clips them."""

    model: str
    optimizer: str = "adamw"
    precision: str = "fp32"
    checkpointing: bool = False
    micro_batches: int = 1

    @property
    def name(self) -> str:
        extras = ["checkpointing"] * self.checkpointing + ["accumulation"] * (self.micro_batches > 1)
        return "/".join([self.model, self.optimizer, self.precision, *extras])


def programs() -> list[Program]:
    """Every model alone; every optimizer; every precision; checkpointing and accumulation."""
    found = [Program(model) for model in MODELS]
    found += [Program(model, optimizer) for model in ("mlp", "gpt") for optimizer in OPTIMIZERS if optimizer != "adamw"]
    found += [Program(model, precision=half) for model in MODELS for half in ("fp16", "bf16")]
    found += [Program(model, checkpointing=True) for model in ("gpt", "vit")]
    found += [Program("gpt", precision="bf16", checkpointing=True)]
    found += [Program(model, micro_batches=3) for model in ("mlp", "gpt")]
    return found


def measure(program: Program, device: torch.device, full: bool, steps: int = STEPS) -> dict:
    """Bytes after each step, from an empty device on: lists ``allocated``, ``peak``, ``reserved``, and ``requests``."""
    empty_device(device)
    module = torch.get_device_module(device)
    start = module.memory_allocated()
    readings = {"allocated": [], "peak": [], "reserved": []}
    step = make_step(program, device, full)
    for _ in range(steps):
        module.reset_peak_memory_stats()
        step()
        module.synchronize()
        readings["allocated"].append(module.memory_allocated() - start)
        readings["peak"].append(module.max_memory_allocated() - start)
        readings["reserved"].append(module.memory_reserved())
    return {**readings, "requests": requests(step, module)}


def requests(step, module) -> list[int]:
    """Every block taken (its bytes) and given back (minus its bytes) in one more step, in order."""
    module.memory._record_memory_history(context=None, max_entries=100_000)
    step()
    module.synchronize()
    (trace,) = [events for events in module.memory._snapshot()["device_traces"] if events] or [[]]
    module.memory._record_memory_history(None)
    signs = {"alloc": 1, "free_requested": -1}
    return [signs[event["action"]] * event["size"] for event in trace if event["action"] in signs]


def make_step(program: Program, device: torch.device, full: bool):
    """A function that trains on one fresh batch (or one per micro-batch)."""
    torch.manual_seed(0)
    task = MODELS[program.model](full, program.checkpointing)
    model = task.model.to(device)
    optimizer = OPTIMIZERS[program.optimizer](model.parameters())
    dtype = PRECISIONS[program.precision]
    scaler = torch.amp.GradScaler(device.type, init_scale=_LOSS_SCALE, enabled=dtype is torch.float16)

    def step():
        optimizer.zero_grad()
        for _ in range(program.micro_batches):
            batch = task.batch(device)
            with torch.autocast(device.type, dtype) if dtype else contextlib.nullcontext():
                loss = task.loss(model, batch)
            scaler.scale(loss / program.micro_batches).backward()
        if program.micro_batches > 1:
            scaler.unscale_(optimizer)
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()

    return step


def empty_device(device: torch.device) -> None:
    """Give back everything an earlier program left: garbage, cuBLAS's workspaces, the cache."""
    gc.collect()
    if device.type == "cuda":
        torch._C._cuda_clearCublasWorkspaces()
        torch.cuda.empty_cache()
    else:
        torch.simgpu.clear_cublas_workspaces()
        torch.simgpu.empty_cache()
