"""Writes tests/weights/fixtures: one small state dict as PyTorch, safetensors and (its keys) Lightning save it.
usage: make_fixtures.py, with torch, safetensors and numpy. Element i of a tensor is ((7 i + length of its name) mod 13 - 6) / 8,
which every floating point type holds exactly; the tests know that."""
import argparse
import collections
import pathlib
import warnings
import numpy
import torch
from safetensors.torch import save_file

here = pathlib.Path(__file__).parent / "fixtures"
SHAPES = {"conv1.weight": (4, 3, 3, 3), "bn1.weight": (4,), "bn1.bias": (4,), "bn1.running_mean": (4,), "bn1.running_var": (4,),
          "bn1.num_batches_tracked": (), "fc.weight": (3, 4), "fc.bias": (3,)}


def values(name, shape, dtype=torch.float32):
    n = int(numpy.prod(shape, dtype=int))
    if name.endswith("num_batches_tracked"):
        return torch.tensor(5)
    flat = torch.tensor([((7 * i + len(name)) % 13 - 6) / 8 for i in range(n)], dtype=torch.float64)
    if name.endswith("running_var"):
        flat = flat.abs()
    return flat.to(dtype).reshape(shape)


def state(prefix="", dtype=torch.float32):
    return collections.OrderedDict((prefix + name, values(name, shape, dtype)) for name, shape in SHAPES.items())


class Tiny(torch.nn.Module):
    """A module, so that its state_dict() has _metadata, and parameters come as Parameter where torch saves them so."""

    def __init__(self):
        super().__init__()
        self.conv1 = torch.nn.Conv2d(3, 4, 3, bias=False)
        self.bn1 = torch.nn.BatchNorm2d(4)
        self.fc = torch.nn.Linear(4, 3)


def lightning(hyper_parameters):
    """What pytorch_lightning 1.9 to 2.x put into a checkpoint, after a step of AdamW."""
    model = Tiny()
    model.load_state_dict(state())
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    model.fc(torch.ones(2, 4)).sum().backward()
    optimizer.step()
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [20, 40])
    model.load_state_dict(state())
    entry = state("model.")
    entry["criterion.pos_weight"] = torch.ones(3)
    return {
        "epoch": 7, "global_step": 1234, "pytorch-lightning_version": "2.1.0", "state_dict": entry,
        "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"total": {"ready": 8, "completed": 7}, "current": {"ready": 8}}}},
        "callbacks": {"ModelCheckpoint{'monitor': 'val_f1', 'mode': 'max'}": {
            "monitor": "val_f1", "best_model_score": torch.tensor(0.8125), "best_model_path": "/logs/epoch=07.ckpt",
            "best_k_models": {"/logs/epoch=07.ckpt": torch.tensor(0.8125)}, "kth_value": torch.tensor(0.8125), "dirpath": pathlib.PosixPath("/logs")}},
        "optimizer_states": [optimizer.state_dict()], "lr_schedulers": [schedule.state_dict()],
        "hparams_name": "kwargs", "hyper_parameters": hyper_parameters,
    }


def positions():
    """Position embeddings of one grid for another, as torchvision has them. The first line of a case is width, old and new side."""
    from torchvision.models.vision_transformer import interpolate_embeddings
    with open(here / "positions.tsv", "w") as out:
        for width, old, new in ((3, 3, 5), (2, 4, 2), (1, 5, 7), (2, 3, 1), (2, 1, 3)):
            n = (1 + old * old) * width
            embedding = torch.tensor([((11 * i + old) % 17 - 8) / 8 for i in range(n)]).reshape(1, 1 + old * old, width)
            state = collections.OrderedDict({"encoder.pos_embedding": embedding})
            interpolate_embeddings(image_size=new, patch_size=1, model_state=state)
            numbers = state["encoder.pos_embedding"].flatten().tolist()
            print(width, old, new, *("%.9g" % x for x in numbers), sep="\t", file=out)


def main():
    warnings.simplefilter("ignore")
    here.mkdir(exist_ok=True)
    model = Tiny()
    model.load_state_dict(state())
    torch.save(model.state_dict(), here / "plain.pth")
    torch.save(state(), here / "protocol4.pth", pickle_protocol=4)
    torch.save({"epoch": 3, "model": state(), "args": argparse.Namespace(lr=0.1, output=pathlib.PosixPath("/out"))}, here / "nested.pth")
    torch.save({"state_dict": state("module.")}, here / "parallel.pth")
    torch.save({"state_dict": state("model._orig_mod."), "epoch": 1}, here / "prefixed.pth")
    torch.save({k: torch.nn.Parameter(v) if v.is_floating_point() and "running" not in k else v for k, v in state().items()}, here / "parameters.pth")
    for name, dtype in (("half", torch.float16), ("bfloat16", torch.bfloat16), ("double", torch.float64)):
        torch.save(state(dtype=dtype), here / f"{name}.pth")
        save_file(state(dtype=dtype), here / f"{name}.safetensors")
    save_file(state(), here / "plain.safetensors", metadata={"format": "pt"})
    whole = torch.zeros(2, 40)
    whole[1, 3:15] = values("fc.weight", (12,))
    views = state()
    views["conv1.weight"] = values("conv1.weight", (4, 3, 3, 3)).to(memory_format=torch.channels_last)
    views["fc.weight"] = whole[1, 3:15].reshape(3, 4)
    views["fc.bias"] = values("fc.bias", (3,)).repeat_interleave(5)[::5]
    torch.save(views, here / "views.pth")
    options = {"model": "resnet18", "lr": numpy.float64(0.1), "classes": ["RB", "caf\u00e9"], "seed": 2**40, "huge": 2**100, "none": None, "flag": True,
               "criterion": torch.nn.BCEWithLogitsLoss(pos_weight=torch.ones(3)), "log_dir": pathlib.PosixPath("/logs"),
               "means": numpy.array([0.5, 0.25]), "gpus": (0, 1)}
    torch.save(lightning(options), here / "lightning.ckpt")
    torch.save(lightning(argparse.Namespace(model="resnet18", lr=0.1)), here / "namespace.ckpt")
    positions()
    torch.save(state(), here / "legacy.pth", _use_new_zipfile_serialization=False)
    torch.serialization.set_crc32_options(False)
    torch.save(state(), here / "no_checksums.pth")


if __name__ == "__main__":
    main()
