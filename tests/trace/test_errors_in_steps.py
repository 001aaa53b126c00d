"""What happens when a step raises, runs out of memory, or never ends?"""

import functools
import threading
import time
import traceback

import pytest
import torch

import autograder as ag
from autograder.errors import StepTimeout
from autograder.trace import last


def frames_of(error):
    return [frame.name for frame in traceback.extract_tb(error.__traceback__)]


def test_the_error_reaches_the_learner_with_their_own_lines(record):
    def helper():
        return {}["absent"]

    def step(i):
        if i == 4:
            helper()

    with pytest.raises(KeyError, match="absent") as caught:
        record(step)
    assert frames_of(caught.value)[-2:] == ["step", "helper"]
    assert len(last().samples) == 4
    assert isinstance(last().error, KeyError)


def test_frames_of_this_package_are_cut_out(gpu):
    """GIVEN a kernel of ours deep in the stack WHEN it raises THEN only the learner's lines are shown."""

    def step():
        torch.zeros(2, 3, device=gpu) @ torch.zeros(2, 3, device=gpu)

    with pytest.raises(RuntimeError) as caught:
        ag.record(step, device=gpu)
    files = [frame.filename for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert not [file for file in files if "/autograder/simgpu/" in file]
    assert __file__ in files


def test_the_kept_error_keeps_no_tensor_alive(record, device):
    """GIVEN a step that failed WHEN its exception is gone THEN the trace does not hold its frame."""

    def step():
        x = torch.zeros(1000, device=device)
        raise ValueError(len(x))

    def attempt():
        try:
            record(step)
        except ValueError:
            return

    attempt()
    failed = last()
    assert failed.error.__traceback__ is None
    assert failed.error.args == (1000,)
    assert failed.final == failed.baseline + 4096
    assert record(lambda: None).baseline == failed.baseline


def test_out_of_memory_is_torchs_own_error_and_the_trace_is_kept(capacity):
    capacity(64 << 20)
    kept = []

    def step():
        kept.append(torch.zeros(10 << 18, device="simgpu"))

    with pytest.raises(torch.OutOfMemoryError, match="Tried to allocate 10.00 MiB"):
        ag.record(step, device="simgpu")
    trace = last()
    assert isinstance(trace.error, torch.OutOfMemoryError)
    assert list(trace.allocated - trace.baseline) == [(10 << 20) * (i + 1) for i in range(len(kept))]
    assert "ended by OutOfMemoryError" in repr(trace)


@pytest.fixture
def capacity():
    """A setter of the simulated GPU's capacity in bytes; put back afterwards."""
    module = torch.get_device_module("simgpu")
    module.empty_cache()
    before = module.mem_get_info()[1]
    yield module.set_capacity
    module.set_capacity(before)
    module.empty_cache()


def spin():
    while True:
        pass


def sleep():
    time.sleep(600)


def swallow():
    while True:
        try:
            time.sleep(0.01)
        except Exception:  # noqa: BLE001, S112 - what this test is about
            continue


def swallow_once():
    try:
        spin()
    except BaseException:  # noqa: BLE001 - the stop must come again
        spin()


def work(device="simgpu"):
    x = torch.zeros(64, 64, device=device)
    while True:
        x = x @ x


@pytest.mark.parametrize("step", [spin, sleep, swallow, swallow_once, work], ids=lambda step: step.__name__)
def test_a_step_that_never_ends_is_stopped(step):
    with pytest.raises(StepTimeout, match="took too long: step 0 of .* ran past 0.2 s and was stopped at .*line"):
        ag.record(step, device="simgpu", timeout=0.2)
    assert isinstance(last().error, StepTimeout)
    assert len(ag.record(lambda: None, device="simgpu").samples) == 23


def test_a_call_into_c_as_the_step_itself_is_stopped(record):
    """No frame of the learner's is running then: the message just names the step."""
    with pytest.raises(StepTimeout, match="was stopped"):
        record(functools.partial(time.sleep, 600), timeout=0.2)


def test_the_limit_is_for_each_step_not_for_all(record):
    record(lambda: time.sleep(0.02), steps=20, warmup=0, timeout=0.3)


def test_a_loop_inside_a_function_is_stopped_too(record):
    with pytest.raises(StepTimeout, match="step 2 of"), record(warmup=0, timeout=0.2) as trace:
        for i in trace.steps(range(5)):
            if i == 2:
                spin()
    assert len(trace.samples) == 2


def test_without_a_limit_nothing_is_stopped(record):
    assert len(record(lambda: None, timeout=None).samples) == 23


def test_a_step_on_another_thread_is_stopped():
    caught = []

    def body():
        try:
            ag.record(spin, device="simgpu", timeout=0.2)
        except StepTimeout as error:
            caught.append(str(error))

    thread = threading.Thread(target=body)
    thread.start()
    thread.join(30)
    assert not thread.is_alive()
    assert "line" in caught[0]


def test_recording_on_another_thread_counts_the_same(record, device):
    traces, kept = [], []

    def body():
        traces.append(record(lambda: kept.append(torch.zeros(1, device=device))))

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert traces[0].slope == 512


def test_an_alarm_that_was_set_before_is_put_back(record):
    signal = pytest.importorskip("signal")
    if not hasattr(signal, "setitimer"):
        pytest.skip("no timer signals on this system")
    rung = []
    before = signal.signal(signal.SIGALRM, lambda *_: rung.append(1))
    signal.setitimer(signal.ITIMER_REAL, 300)
    try:
        record(lambda: None)
        assert 200 < signal.getitimer(signal.ITIMER_REAL)[0] <= 300
        signal.raise_signal(signal.SIGALRM)
        assert rung == [1]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
