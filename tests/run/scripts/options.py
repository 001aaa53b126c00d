"""Options, a module beside the script, an exit status."""
import argparse
import sys

import torch
from options_helper import build

parser = argparse.ArgumentParser()
parser.add_argument("--device", default="cpu")
parser.add_argument("--steps", type=int, default=2)
parser.add_argument("--status", type=int, default=0)
parser.add_argument("--no-cuda", action="store_true")
args = parser.parse_args()

use_cuda = not args.no_cuda and torch.cuda.is_available()
device = torch.device(args.device if use_cuda else "cpu")
model = build(device)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(args.steps):
    optimizer.zero_grad()
    model(torch.ones(4, 8, device=device)).sum().backward()
    optimizer.step()
print(__name__, __file__.endswith("options.py"), sys.argv[1:], next(model.parameters()).device.type)
sys.exit(args.status)
