"""Each rank lets the device mesh choose its device (LOCAL_RANK), as init_device_mesh does where none was chosen yet."""
import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

before = torch.cuda.is_initialized()
torch.manual_seed(0)
mesh = init_device_mesh("cuda", (2,))
with torch.device("meta"):
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 4))
for layer in model:
    fully_shard(layer)
fully_shard(model)
model.to_empty(device=f"cuda:{mesh.get_rank()}")
for parameter in model.parameters():
    nn.init.constant_(parameter, 0.5)
model(torch.ones(2, 8, device="cuda")).sum().backward()
current = torch.cuda.current_device()
text = f"{before} {torch.cuda.is_initialized()} rank {mesh.get_rank()} on {current} {torch.ones(1, device='cuda').device}\n"
print(text, end="", flush=True)
torch.distributed.destroy_process_group()
