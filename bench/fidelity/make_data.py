#!/usr/bin/env python3
"""Scenes of real handwritten digits among pen strokes, as PNG files and the CSV annotations that anyclass-preprocess reads.

usage: make_data.py FOLDER --negatives 0.9 [--seed 1] [--train N] [--val N] [--test N]
       make_data.py FOLDER --single [...]     one digit and at most one stroke in each: what the common initial network is trained on

The 1,797 digits are scikit-learn's load_digits (8 x 8 pixels, written by hand). They are divided into train, val and test first, class by
class, so no two splits share a digit. A scene is a function of (seed, kind or share of negatives, split, number): nothing else is drawn from.
Training is done elsewhere (study.sh)."""
import argparse
import csv
import hashlib
import io
import os
import struct
import zlib

import numpy as np
from scipy import ndimage
from sklearn.datasets import load_digits

SIDE = 32
SPLITS = {"train": 0, "val": 1, "test": 2}
PARTS = (0.6, 0.15, 0.25)  # of the digits of each class: train, val, test
SINGLE = 2000  # stands where the share of negatives (in thousandths) stands in the key of other scenes


def divide_digits(seed):
    """{split: [10 arrays [n, 8, 8] in 0..1]}, no digit in two of them."""
    digits = load_digits()
    images, labels = digits.images / 16.0, digits.target
    order = np.random.default_rng([seed, 99]).permutation(len(labels))
    out = {split: [] for split in SPLITS}
    for c in range(10):
        mine = order[labels[order] == c]
        first = round(PARTS[0] * len(mine))
        second = first + round(PARTS[1] * len(mine))
        for split, part in zip(SPLITS, (mine[:first], mine[first:second], mine[second:])):
            out[split].append(images[part])
    return out


def ink(curves, thickness):
    """8 x 8 in 0..1: a pen of a digit's softness along cubic curves, each given by four control points in 0..8."""
    rows, columns = np.mgrid[0:8, 0:8] + 0.5
    t = np.linspace(0, 1, 24)[:, None]
    glyph = np.zeros((8, 8))
    for a, b, c, d in curves:
        points = (1 - t) ** 3 * a + 3 * t * (1 - t) ** 2 * b + 3 * t * t * (1 - t) * c + t**3 * d
        distance = np.hypot(rows[..., None] - points[:, 0], columns[..., None] - points[:, 1]).min(axis=-1)
        glyph = np.maximum(glyph, np.clip(1.6 - distance / thickness, 0, 1))
    return glyph


def draw_stroke(random):
    return ink(random.uniform(0.8, 7.2, (random.integers(1, 3), 4, 2)), random.uniform(0.6, 0.9))


def cut_part(glyph, random):
    """Half of a glyph: a piece along one edge, turned."""
    part = np.zeros_like(glyph)
    keep = random.integers(3, 5)
    part[:keep] = np.rot90(glyph, random.integers(0, 4))[:keep]
    return np.rot90(part, random.integers(0, 4))


def place(canvas, taken, glyph, random, contrast):
    """Scaled and turned, where it hides little of what is there. False where there is no room (then nothing is drawn)."""
    size = random.uniform(10, 15)
    angle = np.deg2rad(random.uniform(-15, 15))
    reach = int(np.ceil(size * 0.62))
    matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) * (8 / size)
    matrix[:, 0] *= random.uniform(0.88, 1.12)
    centre = reach + random.uniform(-0.5, 0.5, 2)
    patch = ndimage.affine_transform(glyph, matrix, 3.5 - matrix @ centre, (2 * reach + 1, 2 * reach + 1), order=1)
    for _ in range(16):
        y, x = random.integers(-2, SIDE - 2 * reach + 2, 2)
        up, left = max(y, 0), max(x, 0)
        window = (slice(up, y + 2 * reach + 1), slice(left, x + 2 * reach + 1))
        seen = patch[up - y:up - y + canvas[window].shape[0], left - x:left - x + canvas[window].shape[1]]
        if (taken[window] & (seen > 0.2)).sum() <= 0.06 * (seen > 0.2).sum():
            canvas[window] += contrast * seen
            taken[window] |= ndimage.binary_dilation(seen > 0.2)
            return True
    return False


def make_scene(random, glyphs, positive, single):
    """uint8 [SIDE, SIDE] and the set of classes shown."""
    canvas, taken, classes = np.zeros((SIDE, SIDE)), np.zeros((SIDE, SIDE), bool), set()
    n_shown = 1 if single else random.choice([1, 2, 3], p=[0.5, 0.3, 0.2]) if positive else 0
    for _ in range(n_shown):
        c = int(random.integers(0, len(glyphs)))
        if place(canvas, taken, glyphs[c][random.integers(len(glyphs[c]))], random, random.uniform(0.45, 1)):
            classes.add(c)
    for _ in range(random.integers(0, 2) if single else random.integers(2, 5) - n_shown // 2):
        c = int(random.integers(0, len(glyphs)))
        part = random.random() < 0.3
        place(canvas, taken, cut_part(glyphs[c][random.integers(len(glyphs[c]))], random) if part else draw_stroke(random), random,
              random.uniform(0.45, 1))
    ground = ndimage.zoom(random.normal(0, 1, (4, 4)), SIDE / 4, order=1)
    picture = random.uniform(20, 80) + 10 * ground + 150 * np.clip(canvas, 0, 1) + random.normal(0, random.uniform(3, 12), (SIDE, SIDE))
    return np.clip(picture, 0, 255).round().astype(np.uint8), classes


def png(picture):
    """A grey PNG file's bytes."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    rows = b"".join(b"\0" + row.tobytes() for row in picture)
    header = struct.pack(">IIBBBBB", picture.shape[1], picture.shape[0], 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 1)) + chunk(b"IEND", b"")


def write(path, data):
    with open(path + ".part", "wb") as file:
        file.write(data)
    os.replace(path + ".part", path)


def make_split(folder, split, n, key, glyphs, share, digest):
    """`n` scenes, exactly round(n * share) of them negative; with a key of SINGLE none is."""
    single = key[1] == SINGLE
    positive = np.arange(n) >= (0 if single else round(n * share))
    np.random.default_rng([*key, SPLITS[split]]).shuffle(positive)
    table = io.StringIO()
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(["Filename"] + [str(c) for c in range(len(glyphs))])
    for i in range(n):
        classes, attempt = None, 0
        while classes is None or bool(classes) != bool(positive[i]):  # a positive scene without room for anything is drawn again
            picture, classes = make_scene(np.random.default_rng([*key, SPLITS[split], i, attempt]), glyphs, positive[i], single)
            attempt += 1
        name = f"{split}{i:05d}.png"
        write(os.path.join(folder, "images", name), png(picture))
        digest.update(picture.tobytes())
        rows.writerow([name] + [int(c in classes) for c in range(len(glyphs))])
    digest.update(table.getvalue().encode())
    write(os.path.join(folder, f"{split}.csv"), table.getvalue().encode())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("--negatives", type=float, default=0.5)
    parser.add_argument("--single", action="store_true")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--train", type=int, default=2000)
    parser.add_argument("--val", type=int, default=1000)
    parser.add_argument("--test", type=int, default=4000)
    args = parser.parse_args()
    glyphs = divide_digits(args.seed)
    key = [args.seed, SINGLE if args.single else round(1000 * args.negatives)]
    digest = hashlib.sha256()
    os.makedirs(os.path.join(args.folder, "images"), exist_ok=True)
    for split in SPLITS:
        if getattr(args, split):
            make_split(args.folder, split, getattr(args, split), key, glyphs[split], args.negatives, digest)
    write(os.path.join(args.folder, "sha256.txt"), (digest.hexdigest() + "\n").encode())
    print(f"{args.folder}: {args.train} + {args.val} + {args.test} scenes, {0 if args.single else args.negatives:.0%} negative, sha256 {digest.hexdigest()}")


if __name__ == "__main__":
    main()
