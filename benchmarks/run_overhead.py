"""What does ``autograder run`` cost a script? Side by side in one run: plain on the CPU, and recorded, with and without looks.

    python benchmarks/run_overhead.py                     all scripts, three rounds
    python benchmarks/run_overhead.py --only ode --rounds 5

Each script prints the processor's seconds of its own loop, imports and set-up left out; rounds take turns, and medians
are shown.
``no looks`` leaves the diagnosis on the way out (``autograder.run.looks``), so the last column is what that costs.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

HEAD = """
import time
import torch
device = "cuda" if torch.cuda.is_available() else "cpu"
torch.manual_seed(0)
torch.set_num_threads(1)
"""
SCRIPTS = {
    "big heap": """
def main(rows=1_500_000, steps=300):
    table = [{"row": i, "tags": [i]} for i in range(rows)]
    model = torch.nn.Sequential(*(torch.nn.Linear(512, 512) for _ in range(4))).to(device)
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    losses = []
    began = time.process_time()
    for _ in range(steps):
        optimizer.zero_grad()
        loss = model(torch.randn(256, 512, device=device)).pow(2).mean()
        loss.backward()
        optimizer.step()
        losses.append(loss)
    print("SECONDS", time.process_time() - began)
    return table

main()
""",
    "ode": """
def field(t, y, a):
    return a @ y * torch.cos(t) + 0.1 * y

def rk4(y, a, steps, dt):
    t = torch.zeros((), device=device)
    for _ in range(steps):
        k1 = field(t, y, a)
        k2 = field(t + dt / 2, y + dt / 2 * k1, a)
        k3 = field(t + dt / 2, y + dt / 2 * k2, a)
        k4 = field(t + dt, y + dt * k3, a)
        y = y + dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        t = t + dt
    return y

a = torch.nn.Parameter(torch.randn(8, 8, device=device) * 0.1)
optimizer = torch.optim.SGD([a], 0.01)
start = torch.randn(8, 4, device=device)
began = time.process_time()
for _ in range(20):
    optimizer.zero_grad()
    rk4(start, a, 30, 0.01).pow(2).mean().backward()
    optimizer.step()
print("SECONDS", time.process_time() - began)
""",
    "ppo": """
class Agent(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.critic = torch.nn.Sequential(torch.nn.Linear(4, 64), torch.nn.Tanh(), torch.nn.Linear(64, 1))
        self.actor = torch.nn.Sequential(torch.nn.Linear(4, 64), torch.nn.Tanh(), torch.nn.Linear(64, 2))

    def act(self, x, action=None):
        chances = torch.distributions.Categorical(logits=self.actor(x))
        action = chances.sample() if action is None else action
        return action, chances.log_prob(action), chances.entropy(), self.critic(x)

agent = Agent().to(device)
optimizer = torch.optim.Adam(agent.parameters(), 2.5e-4)
began = time.process_time()
for _ in range(3):
    seen = torch.zeros(64, 4, 4, device=device)
    actions, before = torch.zeros(64, 4, device=device), torch.zeros(64, 4, device=device)
    for step in range(64):
        seen[step] = torch.randn(4, 4).to(device)
        with torch.no_grad():
            actions[step], before[step], _, _ = agent.act(seen[step])
    for _ in range(4):
        for part in torch.randperm(256, device=device).split(64):
            _, now, entropy, value = agent.act(seen.reshape(-1, 4)[part], actions.reshape(-1)[part])
            ratio = (now - before.reshape(-1)[part]).exp()
            loss = -torch.min(ratio, ratio.clamp(0.8, 1.2)).mean() - 0.01 * entropy.mean() + value.pow(2).mean()
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(agent.parameters(), 0.5)
            optimizer.step()
            loss.item()
print("SECONDS", time.process_time() - began)
""",
}
WITHOUT = "from autograder.run import looks; looks.FIRST_LOOK = float('inf'); from autograder.cli import main; main()"
WAYS = {
    "CPU": [sys.executable],
    "no looks": [sys.executable, "-c", WITHOUT, "run"],
    "run": [sys.executable, "-m", "autograder", "run"],
}


def main(arguments: list[str]) -> None:
    """Run all ways of all scripts in turns, and print medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(arguments)
    print(
        f"{'script':10}{'CPU':>9}{'no looks':>10}{'run':>9}{'no looks/CPU':>14}{'run/CPU':>9}{'looks':>8}", flush=True
    )
    with tempfile.TemporaryDirectory() as folder:
        for name, text in SCRIPTS.items():
            if options.only in name:
                path = Path(folder) / f"{name.replace(' ', '_')}.py"
                path.write_text(HEAD + text, encoding="utf-8")
                _measure(name, path, options.rounds)


def _measure(name: str, path: Path, rounds: int) -> None:
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(rounds):
        for way, command in WAYS.items():
            seconds[way].append(_seconds([*command, str(path)]))
    cpu, bare, run = (statistics.median(found) for found in seconds.values())
    looks = f"{(run - bare) / bare:+.0%}"
    print(f"{name:10}{cpu:8.2f}s{bare:9.2f}s{run:8.2f}s{bare / cpu:14.2f}{run / cpu:9.2f}{looks:>8}", flush=True)


def _seconds(command: list[str]) -> float:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    for line in done.stdout.splitlines():
        if line.startswith("SECONDS "):
            return float(line.split()[1])
    raise SystemExit(f"{command[-1]} printed no seconds; it said: {done.stderr[-800:]}")


if __name__ == "__main__":
    main(sys.argv[1:])
