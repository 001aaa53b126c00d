"""PyTorch's own tests, with "cuda" meaning the simulated GPU: how many of those that pass on the CPU pass there?

    python benchmarks/pytorch_tests.py test_torch.py --device cpu --out cpu.json
    python benchmarks/pytorch_tests.py test_torch.py --device cuda --compare cpu.json

The test file is PyTorch's (``test/`` of its repository), given by path; none is shipped here. Copies for Intel's and
Ascend's devices work too: their device's name is read as "cuda" (``as_cuda``). ``torch.testing`` makes the tests of one
device from its templates (``instantiate_device_type_tests``), which are run by unittest in child processes, some
hundred in each. A test that ends its process counts as "crashed", one that takes over ``--limit`` seconds as "hung";
the tests after it go on in the next child.

--select PATTERN   only tests whose name ("Class.test") has this regular expression in it
--deselect PATTERN none of these
--every N          one in N of those selected, the same ones on both devices: a sample of a long file
--out FILE         results as JSON: {name: [status, last line of the error]}
--compare FILE     such a file of the CPU; names are compared with the device's name taken out

Not run on either device, by name: ``NOT_RUN``; tests that ask for more than 2 GB count as skipped. Expected failures
count as passed, as in unittest. Needs the ``expecttest`` package, which ``torch.testing`` imports.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import types
import unittest
import zlib
from collections import Counter
from pathlib import Path

STATUSES = ("passed", "failed", "error", "skipped", "crashed", "hung")
CHUNK = 250  # tests per child process
LARGEST = 2 << 30  # bytes that @largeTensorTest may ask for
CAPACITY = 8 << 30  # bytes of the simulated device
NOT_RUN = {
    r"compile|inductor|dynamo|triton": "needs a compiler for CUDA",
    r"cuda_?graph|graph_capture": "CUDA graphs are not modelled",
    r"jiterator": "compiles CUDA source at run time",
    r"memory_leak|MemPool|cudnn_sdp": "looks into CUDA's own libraries",
    r"interpolat\w*uint8|upsampl\w*uint8": "takes minutes on either device",
}


def as_cuda(source: str) -> str:
    """A test file written for Intel's or Ascend's device, as one for CUDA; PyTorch's own comes back as it is.

    Lines keep their numbers. What restricts a template to that device is dropped.
    """
    if "torch_npu" not in source and "Intel Corporation" not in source[:100]:
        return source
    name = r"['\"](xpu|npu|privateuse1)['\"],?"
    source = re.sub(rf"only_for=({name[:-2]}|\({name}\)|\[{name}\])", "only_for=None", source)
    source = re.sub(r"(?<![A-Za-z_])(is_|TEST_)?(xpu|npu)(?![A-Za-z_])", lambda m: (m[1] or "") + "cuda", source)
    return re.sub(r"(?<![A-Za-z_])(XPU|NPU)(?![A-Za-z_])", "CUDA", source)


class AscendsModule(types.ModuleType):
    """torch_npu and what is below it, which Ascend's files import; a device's name is asked for at import."""

    def __getattr__(self, name):
        import torch

        return (lambda *args: "cuda") if name == "get_device_name" else getattr(torch.cuda, name)


def load(path: Path, device: str) -> types.ModuleType:
    """Run the test file as a module whose templates are instantiated for ``device`` only."""
    import torch
    import torch.testing._internal.common_device_type as devices
    import torch.testing._internal.common_utils as utils

    for name in ("torch_npu", "torch_npu.npu", "torch_npu.testing"):
        sys.modules[name] = AscendsModule(name)
    sys.modules["torch_npu"].cuda = sys.modules["torch_npu.npu"]
    torch.set_num_threads(1)
    base = {"cpu": devices.CPUTestBase, "cuda": devices.CUDATestBase}[device]
    devices.device_type_test_bases[:] = [base]
    devices._has_sufficient_memory = lambda device, size: size <= LARGEST
    utils.TestCase._default_dtype_check_enabled = True
    sys.path[:0] = [str(path.parent), str(path.parent.parent)]
    sys.argv = [str(path)]
    module = types.ModuleType(path.stem)
    module.__file__ = str(path)
    sys.modules[path.stem] = sys.modules["__main__"] = module
    exec(compile(as_cuda(path.read_text()), str(path), "exec"), module.__dict__)  # noqa: S102
    return module


def tests_of(module: types.ModuleType) -> dict[str, unittest.TestCase]:
    """Every test of the module by "Class.test"."""
    found = {}
    for case in vars(module).values():
        if isinstance(case, type) and issubclass(case, unittest.TestCase) and case.__module__ == module.__name__:
            if case.__name__.endswith("LAZY"):
                continue
            for name in unittest.defaultTestLoader.getTestCaseNames(case):
                found[f"{case.__name__}.{name}"] = case(name)
    return dict(sorted(found.items()))


class Noted(unittest.TestResult):
    """Writes a line when a test starts and one when it ends, for the parent to read."""

    def __init__(self, out):
        super().__init__()
        self.out = out

    def _note(self, *line):
        print(json.dumps(line), file=self.out, flush=True)

    def startTest(self, test):
        super().startTest(test)
        self.status, self.line = "passed", ""
        self._note("start", named(test))

    def stopTest(self, test):
        super().stopTest(test)
        self._note("end", named(test), self.status, self.line)

    def _failed(self, status, error):
        if self.status != "passed":
            return
        text = [line for line in str(error[1]).strip().splitlines() if line.strip()]
        self.status, self.line = status, f"{error[0].__name__}: {' | '.join(text[:3])[:400]}"

    def addFailure(self, test, error):
        self._failed("failed", error)

    def addError(self, test, error):
        if isinstance(test, unittest.TestCase):
            self._failed("error", error)
        else:  # a class that could not be set up
            self._note("class", f"{error[0].__name__}: {error[1]}")

    def addSubTest(self, test, subtest, error):
        if error is not None:
            self._failed("failed" if issubclass(error[0], AssertionError) else "error", error)

    def addSkip(self, test, reason):
        self.status, self.line = "skipped", reason

    def addUnexpectedSuccess(self, test):
        self.status, self.line = "failed", "unexpected success"


def named(test: unittest.TestCase) -> str:
    return f"{type(test).__name__}.{test._testMethodName}"


def child(path: Path, device: str, wanted: Path | None, notes: Path) -> None:
    """List the tests, or run the wanted ones, and write what happened line by line."""
    with contextlib.ExitStack() as stack, notes.open("w") as out:
        if device == "cuda":
            from autograder.simgpu.cuda_shim import cuda_means_simgpu

            stack.enter_context(cuda_means_simgpu(capacity=CAPACITY, devices=1))
        tests = tests_of(load(path, device))
        if wanted is None:
            out.write(json.dumps(["tests", list(tests)]) + "\n")
        else:
            names = json.loads(wanted.read_text())
            unittest.TestSuite(tests[name] for name in names if name in tests).run(Noted(out))
        out.flush()
        os._exit(0)  # no test's threads or processes keep the child


def start(options, wanted: Path | None, notes: Path) -> subprocess.Popen:
    command = [sys.executable, __file__, str(options.file), "--device", options.device]
    command += ["--notes", str(notes)] + (["--wanted", str(wanted)] if wanted else [])
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]),
    }
    log = notes.with_suffix(".log").open("wb")
    return subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)


def lines(notes: Path) -> list:
    text = notes.read_text() if notes.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def run_chunk(options, names: list[str], folder: Path) -> dict[str, list[str]]:
    """Run ``names`` in one child. What it did not reach is missing in the result, which is never empty."""
    wanted, notes = folder / "wanted.json", folder / "notes.jsonl"
    notes.unlink(missing_ok=True)
    wanted.write_text(json.dumps(names))
    process = start(options, wanted, notes)
    seen, since = 0, time.monotonic()
    while process.poll() is None:
        time.sleep(0.2)
        size = notes.stat().st_size if notes.exists() else 0
        if size != seen:
            seen, since = size, time.monotonic()
        if time.monotonic() - since > options.limit:
            os.killpg(process.pid, 9)
            process.wait()
            break
    hung = time.monotonic() - since > options.limit
    results, running = {}, None
    for kind, name, *rest in lines(notes):
        running = name if kind == "start" else None
        if kind == "end":
            results[name] = rest
    if running:
        results[running] = ["hung", f"over {options.limit} s"] if hung else ["crashed", f"exit {process.returncode}"]
    if not results:
        tail = notes.with_suffix(".log").read_text(errors="replace").strip().splitlines()[-1:] or [""]
        results[names[0]] = ["crashed", tail[0]]
    return results


def run(options) -> dict[str, list[str]]:
    """Run every selected test; results by name."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        notes = folder / "list.jsonl"
        if start(options, None, notes).wait() or not lines(notes):
            raise SystemExit(notes.with_suffix(".log").read_text(errors="replace")[-3000:])
        names = [name for name in lines(notes)[0][1] if re.search(options.select, name)]
        names = [name for name in names if not options.deselect or not re.search(options.deselect, name)]
        names = [name for name in names if zlib.crc32(neutral(name).encode()) % options.every == 0]
        results = {name: ["skipped", why] for name in names for key, why in NOT_RUN.items() if re.search(key, name)}
        left = [name for name in names if name not in results]
        while left:
            results |= (new := run_chunk(options, left[:CHUNK], folder))
            left = left[CHUNK:] if set(new) >= set(left[:CHUNK]) else [name for name in left if name not in new]
            print(f"{len(names) - len(left)} of {len(names)}", file=sys.stderr, flush=True)
    return dict(sorted(results.items()))


def neutral(name: str) -> str:
    """The name of a test without its device's."""
    return re.sub(r"(?<=[a-z0-9])(CPU|CUDA)\.", ".", re.sub(r"_(cpu|cuda)(?=_|$)", "", name))


def compare(here: dict, cpu: dict) -> str:
    """How many of the tests that pass on the CPU pass here, and the others with their errors."""
    ours = {neutral(name): (name, *result) for name, result in here.items()}
    passing = [neutral(name) for name, (status, _) in cpu.items() if status == "passed"]
    both = [name for name in passing if name in ours]
    counts = Counter(ours[name][1] for name in both)
    text = [f"of {len(passing)} that pass on the CPU, {len(both)} exist here: {shown(counts)}"]
    text += [f"{ours[n][1]:8} {ours[n][0]}  {ours[n][2]}" for n in both if ours[n][1] not in ("passed", "skipped")]
    return "\n".join(text)


def shown(counts: Counter) -> str:
    return ", ".join(f"{counts[status]} {status}" for status in STATUSES)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=lambda text: Path(text).resolve())
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda")
    parser.add_argument("--select", default="")
    parser.add_argument("--deselect", default="")
    parser.add_argument("--every", type=int, default=1, metavar="N")
    parser.add_argument("--limit", type=float, default=120, help="seconds that one test, or loading the file, may take")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--compare", type=Path)
    parser.add_argument("--notes", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--wanted", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.notes:
        return child(options.file, options.device, options.wanted, options.notes)
    results = run(options)
    if options.out:
        options.out.write_text(json.dumps(results, indent=1))
    print(f"{options.file.name} on {options.device}: {shown(Counter(status for status, _ in results.values()))}")
    if options.compare:
        print(compare(results, json.loads(options.compare.read_text())))


if __name__ == "__main__":
    main()
