"""The simulated GPU joins before any test runs a backward pass: a device cannot be added after the first one."""

from autograder import simgpu

simgpu.enable()
