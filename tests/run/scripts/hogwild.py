"""Processes that train one model in shared memory, as pytorch/examples' mnist_hogwild does."""

import torch
import torch.multiprocessing as mp
from torch import nn


def worker(rank, model, part, queue, received):
    before = torch.cuda.memory_allocated()
    with torch.no_grad():
        model.weight[rank] += part
    model(torch.ones(1, 4, device="cuda")).sum().backward()
    queue.put(torch.full((2,), float(rank), device="cuda"))
    queue.put((str(model.weight.device), before))
    received.wait()


def main():
    mp.set_start_method("spawn")
    model = nn.Linear(4, 2).cuda()
    nn.init.zeros_(model.weight)
    model.share_memory()
    numbers = torch.arange(8.0, device="cuda")
    for rank in range(2):
        queue, received = mp.Queue(), mp.Event()
        process = mp.Process(target=worker, args=(rank, model, numbers[4 * rank : 4 * rank + 4], queue, received))
        process.start()
        print(queue.get().tolist(), *queue.get())
        received.set()
        process.join()
    print(model.weight.tolist(), model.weight.grad)


if __name__ == "__main__":
    main()
