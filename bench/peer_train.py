"""PyTorch's side of the training benchmarks: images per second of training (or inference) steps on random pixels.

One mode per call, so that modes can be interleaved with ours: eager | channels_last | compile (with channels_last).
--precision bf16 tries autocast and a model wholly in bfloat16, each in a process of its own, and reports the faster by name.
Of an optimiser's implementations (foreach, fused) the faster on a small set of tensors is taken. Prints one JSON line."""
import time

BEGIN = time.time()  # before torch is imported: the time to the first step counts from here

import argparse
import contextlib
import json
import os
import resource
import subprocess
import sys

parser = argparse.ArgumentParser()
parser.add_argument("--model", default="resnet50")
parser.add_argument("--mode", default="eager", choices=["eager", "channels_last", "compile"])
parser.add_argument("--precision", default="32", choices=["32", "bf16", "bf16-autocast", "bf16-model"])
parser.add_argument("--optimizer", default="sgd", choices=["sgd", "adamw"])
parser.add_argument("--batch", type=int, default=8)
parser.add_argument("--image_size", type=int, default=224)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--steps", type=int, default=5)
parser.add_argument("--warmup", type=int, default=2)
parser.add_argument("--inference", action="store_true")
args = parser.parse_args()

if args.precision == "bf16":
    results = []
    for precision in ("bf16-autocast", "bf16-model"):
        done = subprocess.run([sys.executable, __file__, *sys.argv[1:], "--precision", precision], stdout=subprocess.PIPE, text=True)
        if done.returncode == 0:
            results.append(json.loads(done.stdout))
    if not results:
        sys.exit("neither bf16 variant runs")
    print(json.dumps(max(results, key=lambda r: r["images_per_s"])))
    sys.exit(0)

import torch

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "reference"))
from models import make_model

torch.set_num_threads(args.threads)
torch.manual_seed(0)


def make_optimizer(parameters, implementation):
    if args.optimizer == "adamw":
        return torch.optim.AdamW(parameters, lr=1e-4, weight_decay=0.05, **{implementation: True})
    return torch.optim.SGD(parameters, lr=0.01, momentum=0.9, weight_decay=1e-4, **{implementation: True})


def fastest_implementation(dtype):
    """foreach or fused, by twenty steps over 2 million weights: a set too small to be seen in the peak memory."""
    times = {}
    for implementation in ("foreach", "fused"):
        tensors = [torch.nn.Parameter(torch.randn(size, dtype=dtype)) for size in [1024] * 48 + [65536] * 30]
        for t in tensors:
            t.grad = torch.randn_like(t)
        try:
            optimizer = make_optimizer(tensors, implementation)
            optimizer.step()
            start = time.perf_counter()
            for _ in range(20):
                optimizer.step()
            times[implementation] = time.perf_counter() - start
        except (RuntimeError, TypeError):
            continue
    return min(times, key=times.get)


whole = args.precision == "bf16-model"
dtype = torch.bfloat16 if whole else torch.float32
model = make_model(args.model, 17, args.image_size).to(dtype)
x = torch.randint(0, 256, (args.batch, 3, args.image_size, args.image_size), dtype=torch.uint8)
y = (torch.rand(args.batch, 17) < 0.1).float()
if args.mode != "eager":
    model = model.to(memory_format=torch.channels_last)
    x = x.contiguous(memory_format=torch.channels_last)
implementation = None if args.inference else fastest_implementation(dtype)
optimizer = None if args.inference else make_optimizer(model.parameters(), implementation)
criterion = torch.nn.BCEWithLogitsLoss()
mean = torch.tensor([0.47, 0.447, 0.408]).view(1, 3, 1, 1)
std = torch.tensor([0.233, 0.228, 0.231]).view(1, 3, 1, 1)
run = torch.compile(model) if args.mode == "compile" else model


def logits():
    context = torch.autocast("cpu", torch.bfloat16) if args.precision == "bf16-autocast" else contextlib.nullcontext()
    with context:
        return run(((x.float() / 255 - mean) / std).to(dtype)).float()


def train_step():
    optimizer.zero_grad(set_to_none=True)
    loss = criterion(logits(), y)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return loss.item()


def infer_step():
    with torch.no_grad():
        return logits().sum().item()


step = infer_step if args.inference else train_step
model.train(not args.inference)
step()
first_step_s = time.time() - BEGIN
for _ in range(args.warmup - 1):
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
    "who": "torch " + torch.__version__, "mode": args.mode, "model": args.model, "batch": args.batch, "precision": args.precision,
    "work": "inference" if args.inference else "training", "optimizer": None if args.inference else f"{args.optimizer} {implementation}",
    "images_per_s": round(args.batch / median, 3), "step_s": round(median, 4), "first_step_s": round(first_step_s, 2),
    "cpu_s": round(cpu_times[len(cpu_times) // 2], 4),
    "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
}))
