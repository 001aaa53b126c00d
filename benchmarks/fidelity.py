"""How close is the simulated GPU's memory to a real one's?

    python benchmarks/fidelity.py              compare: with CUDA side by side, else with the recordings in tests/golden
    python benchmarks/fidelity.py --record     on a machine with CUDA: keep its readings in tests/golden

Each program is run from an empty device; per step it is read how much is allocated at the end, how much at most, and how
much is reserved. Errors are those of the largest reading of each program. Prints a table, writes everything as JSON, and
exits with 1 if a target is missed (docs/fidelity.md names them).

    python benchmarks/fidelity.py --compare FOLDER   with what benchmarks/on_gpu.py brought back; --keep FOLDER keeps it

--size small    the same programs scaled down, some seconds on a CPU (default: full)
--only TEXT     training programs whose name contains TEXT
--lessons ...   which lessons (default: all; "none" for none); --no-verdicts leaves the judging out
--device NAME   what to record: cuda (default) or simgpu, to try the recorder out
--any-version   compare with another release of PyTorch all the same
--out FILE      where to write the JSON (default: fidelity.json; with --record tests/golden/fidelity_GPU_SIZE.json)
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch

from autograder import simgpu
from autograder.simgpu import workspaces
from benchmarks.fidelity_programs import lessons, recording, returned
from benchmarks.fidelity_programs.compare import compare, table

_ROOT = Path(__file__).resolve().parent.parent
_CAPACITY = 64 << 30
_NOT_MEASURED = (
    "Fidelity is not measured: there is no CUDA device here, and tests/golden holds no recording of one.\n"
    "On a machine with CUDA: python benchmarks/fidelity.py --record"
)


def main(arguments: list[str]) -> int:
    """Run; returns the exit status."""
    options = _parse(arguments)
    if options.keep:
        for path in returned.keep(options.keep, recording.GOLDEN):
            print(path)
        return 0
    if options.compare:
        return _compare_folder(options.compare, options)
    device = simgpu.enable(_CAPACITY)
    torch.simgpu.set_cublas_workspaces(True)
    if options.record:
        return _record(options, device)
    if torch.cuda.is_available():
        references = [_run(torch.device("cuda"), options)]
    else:
        references = [recording.load(path) for path in recording.recordings()]
        references = [reference for reference in references if reference["size"] == options.size]
    if not references:
        print(_NOT_MEASURED)
        return 0
    workspaces.set_environment_like(references[0]["about"]["capability"])
    actual = _run(device, options)
    missed = [line for reference in references for line in _report(reference, actual, options)]
    options.out.write_text(json.dumps({"references": references, "simulated": actual}), encoding="utf-8")
    return 1 if missed else 0


def _parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--size", choices=("small", "full"), default="full")
    parser.add_argument("--only", default="")
    parser.add_argument("--lessons", nargs="*", default=None)
    parser.add_argument("--no-verdicts", action="store_true")
    parser.add_argument("--device", choices=("cuda", "simgpu"), default="cuda")
    parser.add_argument("--compare", type=Path)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--any-version", action="store_true")
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args(arguments)
    if options.lessons is None:
        options.lessons = lessons.names()
    elif options.lessons == ["none"]:
        options.lessons = []
    if not options.record and options.out is None:
        options.out = Path("fidelity.json")
    return options


def _run(device, options) -> dict:
    print(f"running on {device.type} ...", flush=True)
    return recording.record(
        device,
        options.size == "full",
        options.only,
        options.lessons,
        not options.no_verdicts,
        lambda name: print(f"  {name}", flush=True),
    )


def _record(options, device) -> int:
    if options.device == "cuda" and not torch.cuda.is_available():
        print("expected a CUDA device to record, found none; --device simgpu tries the recorder out", file=sys.stderr)
        return 2
    document = _run(torch.device("cuda") if options.device == "cuda" else device, options)
    path = options.out or recording.path_for(document)
    recording.save(document, path)
    print(f"{len(document['programs'])} programs of {document['about']['gpu']} in {path}")
    return 0


def _release(version: str) -> str:
    return version.split("+")[0]


def _compare_folder(folder: Path, options) -> int:
    """Run on the simulated GPU what came back in a folder, into FOLDER-simgpu, and compare."""
    about = returned.about(folder)
    if _release(about["torch"]) != _release(torch.__version__):
        print(
            f"{folder} was recorded with torch {about['torch']}, and this is {torch.__version__}: a difference could be "
            "PyTorch's. Compare with the same release, or say --any-version",
            file=sys.stderr,
        )
        if not options.any_version:
            return 2
    simulated = folder.with_name(f"{folder.resolve().name}-simgpu")
    command = [sys.executable, str(_ROOT / "benchmarks" / "on_gpu.py"), "--device", "simgpu", "--resume"]
    command += ["--like", str(folder), "--out", str(simulated), "--minutes", "600"]
    subprocess.run(command, check=False)
    return _report_folders(folder, simulated)


def _report_folders(folder: Path, simulated: Path) -> int:
    """Print what differs between two folders of results; returns the exit status."""
    missed = [f"{item} failed on the GPU: {error.splitlines()[0]}" for item, error in returned.failures(folder).items()]
    actual = {document["size"]: document for document in returned.documents(simulated)}
    for reference in returned.documents(folder):
        found = actual.get(reference["size"], {"programs": {}})
        comparison = compare(reference, found)
        print(f"\n{reference['size']} size, against {reference['about']['gpu']}\n{table(comparison)}")
        missed += comparison.missed()
    books = returned.sequences(simulated)
    for item, expected in returned.sequences(folder).items():
        where = returned.other_books(expected, books[item]) if item in books else "did not run"
        missed += [f"{item}: {where}"] if where else []
    print(f"allocator: {len(returned.sequences(folder))} sequences")
    shown = returned.figures(simulated)
    for name, readings in returned.figures(folder).items():
        print(f"{name}: {readings}, simulated {shown.get(name, 'did not run')}")
    print("all targets met" if not missed else "MISSED\n" + "\n".join(missed))
    return 1 if missed else 0


def _report(reference: dict, actual: dict, options) -> list[str]:
    """Print one comparison; returns the targets missed."""
    if _release(reference["about"]["torch"]) != _release(torch.__version__):
        print(f"\nNOTE: recorded with torch {reference['about']['torch']}, this is {torch.__version__}")
    if options.only or set(options.lessons) != set(lessons.names()):
        reference = {
            **reference,
            "programs": {n: r for n, r in reference["programs"].items() if n in actual["programs"]},
        }
    comparison = compare(reference, actual)
    about = reference["about"]
    print(
        f"\nsimulated, against {about['gpu']}, torch {about['torch']}, CUDA {about['cuda']} ({reference['size']} size)"
    )
    print(table(comparison))
    missed = comparison.missed()
    print("all targets met" if not missed else "MISSED\n" + "\n".join(missed))
    return missed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
