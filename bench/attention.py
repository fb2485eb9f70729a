"""Attention alone against PyTorch: the same shapes in turns in one run, forward and backward in milliseconds, the least of all rounds.

global: qkv [N, L, 3 C] -> scaled_dot_product_attention -> [N, L, C], as torchvision's ViT does it. window, grid: what torchvision's MaxViT does around its
two linear layers: partition of x [N, C, H, W], then of qkv [N, G, P, 3 C] the products, bias and softmax, then departition. Ours: bench/attention.
usage: bench/attention.py [THREADS [ROUNDS [PROGRAM]]]   (needs torch, torchvision; make build/release/bench/attention)"""
import subprocess
import sys
import time

import torch
from torchvision.models.maxvit import RelativePositionalMultiHeadAttention, SwapAxes, WindowDepartition, WindowPartition

THREADS = int(sys.argv[1]) if len(sys.argv) > 1 else 2
ROUNDS = int(sys.argv[2]) if len(sys.argv) > 2 else 3
PROGRAM = sys.argv[3] if len(sys.argv) > 3 else "build/release/bench/attention"
STEPS = 6
CLOCK = time.process_time if THREADS == 1 else time.perf_counter  # as bench/attention: processor time of one thread
# kind, batch, side, heads, head
SHAPES = [
    ("global", 8, 197, 12, 64), ("global", 8, 197, 16, 64), ("global", 8, 50, 12, 64), ("global", 2, 577, 12, 64), ("global", 1, 1025, 12, 64),
    ("window", 8, 56, 2, 32), ("window", 8, 56, 3, 32), ("grid", 8, 56, 3, 32), ("window", 8, 28, 6, 32), ("window", 8, 14, 12, 32), ("window", 8, 7, 24, 32),
]


class Given(torch.nn.Module):
    """In the place of the linear layer that makes q, k and v."""

    def __init__(self, qkv):
        super().__init__()
        self.qkv = qkv

    def forward(self, x):
        return self.qkv


def global_step(batch, side, heads, head, dtype):
    qkv = torch.randn(batch, side, 3 * heads * head).to(dtype).requires_grad_()
    gradient = torch.randn(batch, side, heads * head).to(dtype)

    def forward():
        q, k, v = qkv.unflatten(-1, (3, heads, head)).permute(2, 0, 3, 1, 4)
        return torch.nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, side, heads * head)

    return forward, lambda y: y.backward(gradient)


def partition_step(kind, batch, side, heads, head, dtype):
    channels, window = heads * head, 7
    grid = kind == "grid"
    size = side // window if grid else window
    layer = RelativePositionalMultiHeadAttention(channels, head, window * window).to(dtype)
    x = torch.randn(batch, channels, side, side).to(dtype).to(memory_format=torch.channels_last).requires_grad_()
    sets = side * side // 49
    qkv = torch.randn(batch, sets, 49, 3 * channels).to(dtype).requires_grad_()
    layer.to_qkv, layer.merge = Given(qkv), torch.nn.Identity()
    given = torch.randn(batch, sets, 49, channels).to(dtype)
    gradient = torch.randn(batch, channels, side, side).to(dtype).to(memory_format=torch.channels_last)
    swap = SwapAxes(-2, -3)

    def forward():
        part = WindowPartition()(x, size)
        part = swap(part) if grid else part
        y = layer(part)
        return part, WindowDepartition()(swap(y) if grid else y, size, side // size, side // size)

    return forward, lambda y: torch.autograd.backward(list(y), [given, gradient])


def peer(forward, backward):
    best = [1e9, 1e9]
    for step in range(-1, STEPS):
        start = CLOCK()
        y = forward()
        middle = CLOCK()
        backward(y)
        end = CLOCK()
        if step >= 0:
            best = [min(best[0], middle - start), min(best[1], end - middle)]
    return [1e3 * t for t in best]


def ours(shape, precision):
    out = subprocess.run([PROGRAM, *map(str, shape), str(STEPS), str(THREADS), precision], check=True, capture_output=True, text=True).stdout.split()
    return float(out[1]), float(out[3])


def main():
    torch.set_num_threads(THREADS)
    print(f"PyTorch {torch.__version__}, {THREADS} threads, least of {ROUNDS} rounds of {STEPS} steps; ms")
    print(f"{'':34}{'PyTorch':>20}{'anyclass':>20}{'ratio':>8}{'GFLOP/s':>16}")
    for precision, dtype in (("32", torch.float32), ("bf16", torch.bfloat16)):
        for shape in SHAPES:
            forward, backward = global_step(*shape[1:], dtype) if shape[0] == "global" else partition_step(*shape, dtype)
            mine, theirs = [1e9, 1e9], [1e9, 1e9]
            for _ in range(ROUNDS):
                theirs = [min(a, b) for a, b in zip(theirs, peer(forward, backward))]
                mine = [min(a, b) for a, b in zip(mine, ours(shape, precision))]
            kind, batch, side, heads, head = shape
            seen, rows = (side, batch * side) if kind == "global" else (49, batch * side * side)
            flops = 4.0 * rows * seen * heads * head
            name = f"{precision:5}{kind} {batch} x {side}, {heads} heads of {head}"
            print(f"{name:34}{theirs[0]:10.2f}{theirs[1]:10.2f}{mine[0]:10.2f}{mine[1]:10.2f}{sum(theirs) / sum(mine):8.2f}"
                  f"{1e-6 * flops / mine[0]:8.0f}{2.5e-6 * flops / mine[1]:8.0f}", flush=True)


if __name__ == "__main__":
    main()
