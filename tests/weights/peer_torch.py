"""What PyTorch says of weights that anyclass wrote, and files that it writes for anyclass to read.
usage: peer_torch.py export MODEL FILE N_CLASSES          FILE loads into torchvision's (for TResNet: no) model with strict=True, in its order
       peer_torch.py logits MODEL FILE SIZE CSV           scores of the images in SIZE's shards equal those in CSV
       peer_torch.py save MODEL FILE FOLDER N_CLASSES     FILE's weights as .pth, Lightning's .ckpt and with another head, into FOLDER"""
import collections
import csv
import sys
import h5py
import numpy
import torch
import torchvision
from safetensors import safe_open
from safetensors.torch import load_file


def build(name, n_classes, size):
    if name.startswith("vit"):
        return torchvision.models.get_model(name, num_classes=n_classes, image_size=size)
    if name == "maxvit_s":
        return torchvision.models.maxvit.MaxVit(input_size=(size, size), stem_channels=64, block_channels=[96, 192, 384, 768], block_layers=[2, 2, 5, 2],
                                                head_dim=32, stochastic_depth_prob=0.2, partition_size=7, num_classes=n_classes)
    if name == "maxvit_t":
        return torchvision.models.maxvit._maxvit(stem_channels=64, block_channels=[64, 128, 256, 512], block_layers=[2, 2, 5, 2], head_dim=32,
                                                 stochastic_depth_prob=0.2, partition_size=7, input_size=(size, size), num_classes=n_classes)
    return torchvision.models.get_model(name, num_classes=n_classes)


def metadata(path):
    with safe_open(path, "pt") as f:
        return f.metadata()


def header_order(path):
    import json
    with open(path, "rb") as f:
        n = int.from_bytes(f.read(8), "little")
        return [k for k in json.loads(f.read(n)) if k != "__metadata__"]


def load(name, path, n_classes):
    model = build(name, n_classes, int(metadata(path)["image_size"]))
    model.load_state_dict(load_file(path), strict=True)
    return model.eval()


def export(name, path, n_classes):
    model = load(name, path, int(n_classes))
    theirs, ours = list(model.state_dict()), header_order(path)
    assert theirs == ours, next((a, b) for a, b in zip(theirs, ours) if a != b)
    fresh = build(name, int(n_classes), int(metadata(path)["image_size"])).state_dict()
    for key, value in fresh.items():
        if key.endswith("relative_position_index"):
            assert torch.equal(value, model.state_dict()[key]), key
    assert metadata(path)["format"] == "pt" and metadata(path)["model"] == name


def logits(name, path, shards, scores):
    import glob
    import json
    names, images = [], []
    for shard in sorted(glob.glob(shards)):
        with h5py.File(shard) as f:
            images.append(numpy.array(f["images"]))
            names += read_names(f, len(images[-1]))
    said = metadata(path)
    mean, std = (torch.tensor(json.loads(said[k])).reshape(1, 3, 1, 1) for k in ("mean", "std"))
    x = torch.from_numpy(numpy.concatenate(images)).permute(0, 3, 1, 2).float() / 255
    model = load(name, path, len(json.loads(said["classes"])))
    with torch.no_grad():
        ours = {}
        for file in glob.glob(scores):
            with open(file) as f:
                for row in list(csv.reader(f))[1:]:
                    ours[row[0]] = [float(v) for v in row[1:]]
        theirs = torch.sigmoid(model((x - mean) / std)).numpy()
    assert len(ours) == len(names), (len(ours), len(names))
    worst = numpy.max([numpy.abs(numpy.array(ours[n]) - t).max() for n, t in zip(names, theirs)])  # NaN stays
    print("largest difference of a score", worst)
    assert worst < 1e-5, worst


def read_names(f, n):
    at, text = numpy.array(f["name_offsets"]), numpy.array(f["name_bytes"]).tobytes()
    return [text[at[i]:at[i + 1]].rstrip(b"\0").decode() for i in range(n)]


def save(name, path, folder, n_classes):
    model = load(name, path, int(n_classes))
    state = model.state_dict()
    torch.save(state, f"{folder}/plain.pth")
    torch.save({"model": collections.OrderedDict(("module." + k, v) for k, v in state.items())}, f"{folder}/nested.pt")
    torch.save({"epoch": 1, "global_step": 2, "pytorch-lightning_version": "1.9.5",
                "state_dict": collections.OrderedDict(("model." + k, v) for k, v in state.items()), "hyper_parameters": {"model": name}},
               f"{folder}/lightning.ckpt")
    other = build(name, int(n_classes) + 2, int(metadata(path)["image_size"]))
    torch.save(other.state_dict(), f"{folder}/other_head.pth")


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
