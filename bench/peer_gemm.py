"""PyTorch's side of bench/gemm_f32: the same products in float by torch.mm, GFLOP/s of the fastest round. usage: python peer_gemm.py [THREADS [ROUNDS]]
One thread is timed by the processor seconds it used."""
import sys
import time

import torch

threads, rounds = (int(a) for a in (sys.argv[1:] + ["1", "10"][len(sys.argv) - 1:]))
torch.set_num_threads(threads)
clock = time.process_time if threads == 1 else time.perf_counter
layers = [("vit_b qkv", 1576, 768, 2304), ("vit_b proj", 1576, 768, 768), ("vit_b fc1", 1576, 768, 3072), ("vit_b fc2", 1576, 3072, 768),
          ("maxvit 1 qkv", 25088, 96, 288), ("maxvit 1 proj", 25088, 96, 96), ("maxvit 1 fc1", 25088, 96, 384), ("maxvit 1 fc2", 25088, 384, 96),
          ("maxvit 2 fc1", 6272, 192, 768), ("maxvit 3 fc1", 1568, 384, 1536), ("maxvit 4 fc1", 392, 768, 3072), ("resnet50 1", 25088, 64, 256)]
print(f"PyTorch {torch.__version__}, {threads} threads; rows, in, out; GFLOP/s")
for name, m, k, n in layers:
    x, w, y = torch.rand(m, k), torch.rand(n, k), torch.rand(m, n)
    dx, dw = torch.empty(m, k), torch.empty(n, k)
    line = f"{name:14} {m:6} {k:5} {n:5}"
    for label, product in (("forward", lambda: torch.mm(x, w.t(), out=y)), ("dX", lambda: torch.mm(y, w, out=dx)), ("dW", lambda: torch.mm(y.t(), x, out=dw))):
        best = float("inf")
        for _ in range(rounds):
            start = clock()
            product()
            best = min(best, clock() - start)
        line += f"  {label} {2e-9 * m * k * n / best:4.0f}"
    print(line, flush=True)
