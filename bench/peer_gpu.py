"""PyTorch's side of the GPU benchmarks: images per second of training and inference steps from a batch of uint8 pixels that lies on the GPU.

One process runs modes eager (NCHW) | channels_last | compile (with channels_last), each with autocast to bfloat16 (or in float32), and prints one JSON
line per mode and kind of work. The step is ours: normalise, forward, loss, backward, clip the global norm, update. Times are of CUDA events."""
import argparse
import contextlib
import json
import sys
import time

import torch
import torchvision

parser = argparse.ArgumentParser()
parser.add_argument("--model", default="resnet50")
parser.add_argument("--modes", default="eager channels_last compile")
parser.add_argument("--precision", default="bf16", choices=["32", "bf16"])
parser.add_argument("--optimizer", default="sgd", choices=["sgd", "adamw"])
parser.add_argument("--batch", type=int, default=256)
parser.add_argument("--image_size", type=int, default=224)
parser.add_argument("--steps", type=int, default=20)
parser.add_argument("--warmup", type=int, default=5)
parser.add_argument("--work", default="training inference")
args = parser.parse_args()

torch.backends.cudnn.benchmark = True
device = torch.device("cuda")


def make_model():
    torch.manual_seed(0)
    if args.model == "maxvit_s":
        return torchvision.models.maxvit.MaxVit(input_size=(args.image_size, args.image_size), stem_channels=64, block_channels=[96, 192, 384, 768], block_layers=[2, 2, 5, 2],
                                                head_dim=32, stochastic_depth_prob=0.2, partition_size=7, num_classes=17)
    if args.model.startswith("tresnet"):
        sys.path.insert(0, "tests/reference")
        import tresnet
        return tresnet.TResNet(args.model, 17)
    return torchvision.models.get_model(args.model, num_classes=17)


x = torch.randint(0, 256, (args.batch, 3, args.image_size, args.image_size), dtype=torch.uint8, device=device)
y = (torch.rand(args.batch, 17, device=device) < 0.1).float()
mean = torch.tensor([0.47, 0.447, 0.408], device=device).view(1, 3, 1, 1)
std = torch.tensor([0.233, 0.228, 0.231], device=device).view(1, 3, 1, 1)
criterion = torch.nn.BCEWithLogitsLoss()


def measure(step):
    for _ in range(args.warmup):
        step()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    marks = [torch.cuda.Event(enable_timing=True) for _ in range(args.steps + 1)]
    marks[0].record()
    for i in range(args.steps):
        step()
        marks[i + 1].record()
    torch.cuda.synchronize()
    times = sorted(a.elapsed_time(b) for a, b in zip(marks, marks[1:]))
    return times[len(times) // 2], marks[0].elapsed_time(marks[-1]) / args.steps


def run(mode, work):
    begin = time.time()
    torch._dynamo.reset()
    torch.cuda.empty_cache()
    model = make_model().to(device)
    batch = x
    if mode != "eager":
        model = model.to(memory_format=torch.channels_last)
        batch = x.contiguous(memory_format=torch.channels_last)
    model.train(work == "training")
    if args.optimizer == "adamw":
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.05, fused=True)
    else:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4, fused=True)
    forward = torch.compile(model) if mode == "compile" else model

    def logits():
        context = torch.autocast("cuda", torch.bfloat16) if args.precision == "bf16" else contextlib.nullcontext()
        with context:
            return forward((batch.float() / 255 - mean) / std).float()

    def train_step():
        optimizer.zero_grad(set_to_none=True)
        loss = criterion(logits(), y)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0, foreach=True)
        optimizer.step()

    def infer_step():
        with torch.no_grad():
            logits()

    median, average = measure(train_step if work == "training" else infer_step)
    print(json.dumps({"who": "torch " + torch.__version__, "mode": mode, "model": args.model, "batch": args.batch, "precision": args.precision, "work": work,
                      "images_per_s": round(args.batch / median * 1e3, 1), "step_ms": round(median, 3), "mean_step_ms": round(average, 3),
                      "peak_mib": torch.cuda.max_memory_allocated() >> 20, "reserved_mib": torch.cuda.max_memory_reserved() >> 20, "setup_s": round(time.time() - begin, 1),
                      "device": torch.cuda.get_device_name()}), flush=True)


for mode in args.modes.split():
    for work in args.work.split():
        try:
            run(mode, work)
        except Exception as error:  # what cannot run here is a line of text
            print(f"# torch {mode} {args.model} {work}: {str(error).splitlines()[0] if str(error) else type(error).__name__}", flush=True)
