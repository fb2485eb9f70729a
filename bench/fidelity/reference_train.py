#!/usr/bin/env python3
"""The same training in PyTorch, with the loss of the paper's own code: same shards, initial network, optimiser, schedule and choice of the epoch.

Prints a row per epoch (as metrics.csv) and writes the scores of the epoch with the best macro F1 on val as anyclass-infer would:
OUTPUT/resnet18_val_f1_{Val,Test}_sigmoid.csv. Called by study.sh; metrics are computed by anyclass-evaluate."""
import argparse
import glob
import math
import os

import h5py
import numpy as np
import torch
import torchvision
from safetensors.torch import load_file
from torch.nn.functional import binary_cross_entropy_with_logits
from torchvision.ops import sigmoid_focal_loss


def read_split(root, split):
    """images [N, 3, S, S] normalised, labels [N, C], names, class names"""
    images, labels, names = [], [], []
    for path in sorted(glob.glob(os.path.join(root, f"{split}-*-of-*.h5"))):
        with h5py.File(path) as file:
            mean, std = np.array(file.attrs["mean"], np.float32), np.array(file.attrs["std"], np.float32)
            images.append((file["images"][:].astype(np.float32) / 255 - mean) / std)
            labels.append(file["labels"][:].astype(np.float32))
            names += file["name_bytes"][:].tobytes().decode().split("\0")[:-1]
            classes = file.attrs["class_names"]
    classes = (classes.decode() if isinstance(classes, bytes) else str(classes)).strip("\n").split("\n")
    pixels = torch.from_numpy(np.concatenate(images)).permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
    return pixels, torch.from_numpy(np.concatenate(labels)), names, classes


class AnyClassLoss:
    """Section 3 of the paper with the class balancing of its code: weights per image, divided by the labels (a negative image counts as one)."""

    def __init__(self, labels, args):
        self.args = args
        counts = torch.cat([labels.sum(0), (labels.sum(1) == 0).sum()[None].float()]).double()
        inverse = (1 - args.class_balancing_beta) / (1 - args.class_balancing_beta ** counts)
        weights = (inverse / inverse.sum() * len(counts)).float()
        self.class_weights, self.negative_weight = weights[:-1], weights[-1]

    def base(self, logits, targets):
        if self.args.base_loss == "bce":
            return binary_cross_entropy_with_logits(logits, targets, reduction="none")
        return sigmoid_focal_loss(logits, targets, alpha=-1, gamma=self.args.focal_gamma, reduction="none")

    def __call__(self, logits, y):
        any_class = y.amax(1, keepdim=True)
        share = torch.where(any_class * (1 - y) > 0, torch.full_like(y, self.args.meta_loss_beta), torch.ones_like(y))
        presence = (share * logits).sum(1, keepdim=True) / share.sum(1, keepdim=True)
        loss = self.base(logits, y).sum(1) + self.args.meta_loss_weight * self.base(presence, any_class).squeeze(1)
        weights = torch.where(any_class.squeeze(1) > 0, y @ self.class_weights, self.negative_weight)
        return (weights * loss).sum() / y.sum(1).clamp(min=1).sum()


def macro_f1(scores, labels):
    predicted, labels = scores >= 0.5, labels > 0
    hits = (predicted & labels).sum(0).astype(float)
    return float(np.mean(2 * hits / (predicted.sum(0) + labels.sum(0))))


def score(model, pixels):
    model.eval()
    with torch.no_grad():
        return np.concatenate([torch.sigmoid(model(part)).numpy() for part in pixels.split(250)])


def build(args, n_classes):
    """The body of --init, a last layer drawn as torchvision draws it."""
    torch.manual_seed(args.seed)
    model = torchvision.models.resnet18(num_classes=n_classes)
    state = {name: value for name, value in load_file(args.init).items() if args.keep_head or not name.startswith("fc.")}
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert set(missing) == (set() if args.keep_head else {"fc.weight", "fc.bias"}) and not unexpected
    return model.to(memory_format=torch.channels_last)


def read_order(path):
    """{(epoch, step): images}"""
    with open(path) as file:
        lines = [line.split(":") for line in file if line[0].isdigit()]
    return {tuple(map(int, at.split())): torch.tensor([int(i) for i in images.split()]) for at, images in lines}


def write_scores(args, split, scores, names, classes):
    path = os.path.join(args.output, f"resnet18_val_f1_{split}_sigmoid.csv")
    with open(path + ".part", "w") as file:
        print("Filename", *classes, sep=",", file=file)
        for name, row in zip(names, scores):
            print(name, *(np.format_float_positional(v, unique=True, trim="-") for v in row), sep=",", file=file)
    os.replace(path + ".part", path)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("data_root", "init", "output", "model", "optimizer", "schedule"):
        parser.add_argument("--" + name, required=True)
    parser.add_argument("--base_loss", choices=("bce", "focal"), required=True)
    for name, kind, value in (("focal_gamma", float, 2.0), ("meta_loss_weight", float, 1.0), ("meta_loss_beta", float, 0.1),
                              ("class_balancing_beta", float, 0.9999), ("learning_rate", float, None), ("weight_decay", float, None),
                              ("restart_period", int, None), ("batch_size", int, None), ("max_epochs", int, None), ("seed", int, None),
                              ("clip_norm", float, 1.0)):
        parser.add_argument("--" + name, type=kind, default=value, required=value is None)
    parser.add_argument("--keep_head", action="store_true", help="the last layer of --init too")
    parser.add_argument("--order", help="images of each step, as tests/train/list_samples prints them for two epochs")
    args = parser.parse_args()
    assert (args.model, args.optimizer, args.schedule) == ("resnet18", "adamW", "cosine") and args.restart_period == args.max_epochs
    torch.set_num_threads(1)
    pixels, labels, _, classes = read_split(args.data_root, "train")
    val_pixels, val_labels, val_names, _ = read_split(args.data_root, "val")
    test_pixels, _, test_names, _ = read_split(args.data_root, "test")
    model = build(args, len(classes))
    loss_of = AnyClassLoss(labels, args)
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.learning_rate, weight_decay=args.weight_decay, fused=True)
    order = read_order(args.order) if args.order else None
    best = -1.0
    print("epoch,train_loss,val_f1", flush=True)
    for epoch in range(args.max_epochs):
        optimizer.param_groups[0]["lr"] = args.learning_rate * (1 + math.cos(math.pi * epoch / args.restart_period)) / 2
        model.train()
        total, n = 0.0, 0
        shuffled = torch.randperm(len(labels)).split(args.batch_size)
        for step in range(len(labels) // args.batch_size):  # the last, smaller batch is left out, as ours is
            part = order[epoch, step] if order else shuffled[step]
            loss = loss_of(model(pixels[part]), labels[part])
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), args.clip_norm)
            optimizer.step()
            total, n = total + loss.item(), n + 1
        scores = score(model, val_pixels)
        f1 = macro_f1(scores, val_labels.numpy())
        print(epoch, total / n, f1, sep=",", flush=True)
        if f1 > best:
            best, val_scores, weights = f1, scores, {name: value.clone() for name, value in model.state_dict().items()}
    model.load_state_dict(weights)
    write_scores(args, "Val", val_scores, val_names, classes)
    write_scores(args, "Test", score(model, test_pixels), test_names, classes)


if __name__ == "__main__":
    main()
