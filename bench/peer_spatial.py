"""Time of PyTorch's operators in the shapes of bench/spatial.c, channels last: forward and backward, best of the repeats, in the
thread's own time when it is one. usage: python peer_spatial.py [BATCH [REPEATS [THREADS [32|bf16 [PART OF A LABEL]]]]]"""
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F

ROWS = [("blur", 56, 152, 2, 0), ("blur", 28, 304, 2, 0), ("average", 56, 76, 2, 0), ("average", 28, 608, 2, 0),
        ("squeeze_residual", 56, 76, 1, 64), ("squeeze", 28, 152, 1, 64), ("squeeze", 14, 304, 1, 76), ("squeeze", 112, 256, 1, 16),
        ("squeeze", 28, 512, 1, 32), ("squeeze", 7, 3072, 1, 192), ("depthwise", 112, 256, 2, 0), ("depthwise", 56, 256, 1, 0),
        ("depthwise", 56, 512, 2, 0), ("depthwise", 28, 512, 1, 0), ("depthwise", 14, 1024, 1, 0), ("depthwise", 14, 2048, 2, 0),
        ("depthwise", 7, 3072, 1, 0)]


class Squeeze(nn.Module):
    def __init__(self, channels, hidden, inner, residual):
        super().__init__()
        self.fc1, self.fc2 = nn.Conv2d(channels, hidden, 1), nn.Conv2d(hidden, channels, 1)
        self.inner, self.residual = inner, residual

    def forward(self, x):
        gate = torch.sigmoid(self.fc2(self.inner(self.fc1(F.adaptive_avg_pool2d(x, 1)))))
        return x * gate if self.residual is None else F.relu(x * gate + self.residual, inplace=True)


class Blur(nn.Module):
    def __init__(self, channels):
        super().__init__()
        side = torch.tensor([1.0, 2.0, 1.0])
        self.register_buffer("weight", (side[:, None] * side / 16)[None, None].repeat(channels, 1, 1, 1))

    def forward(self, x):
        return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), self.weight, stride=2, groups=x.shape[1])


def module(kind, channels, stride, hidden, residual):
    if kind == "blur":
        return Blur(channels)
    if kind == "average":
        return nn.AvgPool2d(2, 2, ceil_mode=True, count_include_pad=False)
    if kind == "depthwise":
        return nn.Conv2d(channels, channels, 3, stride, 1, groups=channels, bias=False)
    return Squeeze(channels, hidden, nn.ReLU() if channels % 76 == 0 else nn.SiLU(), residual)


def main():
    given = sys.argv[1:] + [None] * 5
    batch, repeats, threads = int(given[0] or 8), int(given[1] or 5), int(given[2] or 2)
    dtype = torch.bfloat16 if given[3] == "bf16" else torch.float32
    torch.set_num_threads(threads)
    now = time.thread_time if threads == 1 else time.perf_counter
    for kind, side, channels, stride, hidden in ROWS:
        if given[4] and given[4] not in f"{kind} {side} {channels}":
            continue
        last = torch.channels_last
        x = torch.randn(batch, channels, side, side, dtype=dtype).to(memory_format=last).requires_grad_()
        residual = torch.randn_like(x).requires_grad_() if kind == "squeeze_residual" else None
        m = module(kind, channels, stride, hidden, residual).to(dtype).to(memory_format=last)
        forward, backward, infer = [], [], []
        dy = torch.randn_like(m(x)).to(memory_format=last)
        inputs = [v for v in [x, residual, *m.parameters()] if v is not None]
        for _ in range(repeats + 1):
            start = now()
            y = m(x)
            middle = now()
            torch.autograd.grad(y, inputs, dy)
            forward.append(middle - start)
            backward.append(now() - middle)
            with torch.inference_mode():
                start = now()
                m(x)
                infer.append(now() - start)
        print(f"{kind:16s} {side:3d} x {side:3d} x {channels:4d} /{stride}  forward {1e3 * min(forward[1:]):7.3f} ms  "
              f"backward {1e3 * min(backward[1:]):7.3f} ms  inference {1e3 * min(infer[1:]):7.3f} ms", flush=True)


main()
