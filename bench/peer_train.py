"""PyTorch's side of `make bench`: images per second of training (or inference) steps on random pixels.

One mode per call, so that modes can be interleaved with ours: eager | channels_last | compile. bf16 by autocast, or by a
model whose weights are bf16 too (no mixed precision then, but sometimes faster).
Prints one JSON line."""
import argparse
import json
import resource
import time

import torch
import torchvision

parser = argparse.ArgumentParser()
parser.add_argument("--model", default="resnet50")
parser.add_argument("--mode", default="eager", choices=["eager", "channels_last", "compile"])
parser.add_argument("--batch", type=int, default=8)
parser.add_argument("--image_size", type=int, default=224)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--steps", type=int, default=5)
parser.add_argument("--warmup", type=int, default=2)
parser.add_argument("--inference", action="store_true")
parser.add_argument("--precision", default="32", choices=["32", "bf16-autocast", "bf16-model"])
args = parser.parse_args()

torch.set_num_threads(args.threads)
torch.manual_seed(0)
model = torchvision.models.get_model(args.model, num_classes=17)
x = torch.randint(0, 256, (args.batch, 3, args.image_size, args.image_size), dtype=torch.uint8)
if args.precision == "bf16-model":
    model = model.to(torch.bfloat16)
y = (torch.rand(args.batch, 17) < 0.1).float()
if args.mode != "eager":
    model = model.to(memory_format=torch.channels_last)
    x = x.contiguous(memory_format=torch.channels_last)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
criterion = torch.nn.BCEWithLogitsLoss()
mean = torch.tensor([0.47, 0.447, 0.408]).view(1, 3, 1, 1)
std = torch.tensor([0.233, 0.228, 0.231]).view(1, 3, 1, 1)
compiled = torch.compile(model) if args.mode == "compile" else model


def run(pixels):
    if args.precision == "bf16-model":
        return compiled(pixels.to(torch.bfloat16)).float()
    with torch.autocast("cpu", torch.bfloat16, enabled=args.precision == "bf16-autocast"):
        return compiled(pixels)


def train_step():
    optimizer.zero_grad(set_to_none=True)
    loss = criterion(run((x.float() / 255 - mean) / std).float(), y)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return loss.item()


def infer_step():
    with torch.no_grad():
        return run((x.float() / 255 - mean) / std).sum().item()


step = infer_step if args.inference else train_step
model.train(not args.inference)
for _ in range(args.warmup):
    step()
times, cpu_times = [], []
for _ in range(args.steps):
    start, used = time.perf_counter(), time.process_time()
    step()
    times.append(time.perf_counter() - start)
    cpu_times.append(time.process_time() - used)
times.sort()
cpu_times.sort()
median = times[len(times) // 2]
print(json.dumps({
    "peer": "torch " + torch.__version__, "mode": args.mode, "model": args.model, "precision": args.precision, "batch": args.batch,
    "images_per_s": round(args.batch / median, 3), "step_s": round(median, 4), "cpu_s": round(cpu_times[len(cpu_times) // 2], 4),
    "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
}))
