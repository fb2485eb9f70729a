"""PyTorch doing what anyclass-infer does: shards through h5py and a DataLoader, the model with a checkpoint's weights, sigmoid
scores as CSV. Prints a JSON line. usage: peer_infer.py --checkpoint FILE --shards FOLDER --split test --output FILE.csv [--mode MODE]
[--precision 32|bf16] [--batch N] [--threads N] [--workers N]

Modes: eager (channels first), channels_last, fuse (batch norms folded into convolutions by torch.fx, channels last), jit (traced,
frozen, optimize_for_inference), compile (torch.compile), freeze (torch.compile with inductor's freezing, which folds constants and packs
weights). The weights of anyclass have PyTorch's names and layouts, so the scores can be compared."""
import argparse
import glob
import json
import os
import sys
import time

begin = time.time()
import h5py
import numpy as np
import torch

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "reference"))
from models import make_model

p = argparse.ArgumentParser()
p.add_argument("--checkpoint", required=True)
p.add_argument("--shards", required=True)
p.add_argument("--split", default="test")
p.add_argument("--output", required=True)
p.add_argument("--mode", default="channels_last")
p.add_argument("--precision", default="32")
p.add_argument("--batch", type=int, default=16)
p.add_argument("--threads", type=int, default=2)
p.add_argument("--workers", type=int, default=0)
o = p.parse_args()
torch.set_num_threads(o.threads)
torch.manual_seed(1)


class Shards(torch.utils.data.Dataset):
    """Images of all shards of a split by one index; a worker opens the files itself."""

    def __init__(self):
        self.files = sorted(glob.glob(f"{o.shards}/{o.split}-*-of-*.h5"))
        self.open, self.names = None, []
        for file in self.files:
            with h5py.File(file) as f:
                at, text = f["name_offsets"][:], f["name_bytes"][:].tobytes()
                self.names += [text[at[i] : at[i + 1] - 1].decode() for i in range(len(at) - 1)]
        self.first = np.cumsum([0] + [h5py.File(file)["images"].shape[0] for file in self.files])

    def __len__(self):
        return len(self.names)

    def __getitem__(self, i):
        if self.open is None:
            self.open = [h5py.File(file)["images"] for file in self.files]
        k = int(np.searchsorted(self.first, i, side="right")) - 1
        return torch.from_numpy(self.open[k][i - self.first[k]])


class Network(torch.nn.Module):
    """Pixels to logits: normalised as anyclass does it."""

    def __init__(self, info, weights, side):
        super().__init__()
        self.model = make_model(info["model"], len(info["classes"]), side)
        self.model.load_state_dict(weights, strict=False)
        self.register_buffer("mean", 255 * torch.tensor(info["mean"]).view(1, 3, 1, 1))
        self.register_buffer("scale", 1 / (255 * torch.tensor(info["std"]).view(1, 3, 1, 1)))

    def forward(self, x):
        return self.model((x - self.mean) * self.scale)


with h5py.File(o.checkpoint) as f:
    info = json.loads(f["info"][:].tobytes())
    weights = {}
    f["model"].visititems(lambda name, d: weights.__setitem__(name, torch.from_numpy(d[:])) if isinstance(d, h5py.Dataset) else None)
data = Shards()
network = Network(info, weights, data[0].shape[0]).eval()
dtype = torch.bfloat16 if o.precision == "bf16" else torch.float32
if o.mode in ("fuse", "jit"):
    from torch.fx.experimental import optimization

    network.model = optimization.fuse(network.model)
network.model = network.model.to(dtype)
if o.mode != "eager":
    network.model = network.model.to(memory_format=torch.channels_last)
loader = torch.utils.data.DataLoader(data, batch_size=o.batch, num_workers=o.workers, persistent_workers=False)
first_s = last_s = None
n_done = n_first = 0
with torch.inference_mode():
    model = network.model
    if o.mode == "jit":
        side = data[0].shape[0]
        example = torch.zeros(o.batch, 3, side, side, dtype=dtype).contiguous(memory_format=torch.channels_last)
        model = torch.jit.optimize_for_inference(torch.jit.freeze(torch.jit.trace(model, example)))
    if o.mode == "freeze":
        import torch._inductor.config

        torch._inductor.config.freezing = True
    if o.mode in ("compile", "freeze"):
        model = torch.compile(model)
    with open(o.output, "w") as out:
        out.write(",".join(["Filename"] + list(info["classes"])) + "\n")
        for images in loader:
            x = (images.permute(0, 3, 1, 2).float() - network.mean) * network.scale  # channels last as it lies
            x = x.to(dtype)
            if o.mode == "eager":
                x = x.contiguous()
            scores = torch.sigmoid(model(x).float()).numpy()
            for i, row in enumerate(scores):
                out.write(data.names[n_done + i] + "," + ",".join(map(str, row)) + "\n")
            n_done += len(scores)
            last_s = time.time()
            if first_s is None:
                first_s, n_first = last_s, n_done
import resource

print(json.dumps({"who": f"torch {torch.__version__}", "mode": o.mode, "precision": o.precision, "batch": o.batch, "threads": o.threads,
                  "workers": o.workers, "images": n_done, "images_per_s": round((n_done - n_first) / (last_s - first_s), 3),
                  "first_batch_s": round(first_s - begin, 2), "process_s": round(last_s - begin, 2),
                  "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}))
