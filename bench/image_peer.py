"""Decode + resize, ours against Pillow and torchvision, one thread, taking turns image by image.
usage: image_peer.py PROGRAM ROUNDS SIZE FILE...    PROGRAM: build/release/bench/image. Needs Pillow; torchvision if it is there.

Times are processor times of the one thread. Of each contestant and file the fastest of the rounds counts; then times are added over
files. Each ratio is also given for the medians of the rounds, which other work on the machine moves more."""
import statistics
import subprocess
import sys
import time

import PIL
from PIL import Image, features

program, rounds, size, files = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]
try:
    import torch
    import torchvision
    torch.set_num_threads(1)
    transform = torchvision.transforms.Resize((size, size), antialias=True)  # bilinear, on a PIL image: Pillow's resize
    version = "torchvision %s" % torchvision.__version__
except ImportError:
    transform = lambda image: image.resize((size, size), Image.BILINEAR)
    version = "no torchvision"
ours = subprocess.Popen([program, str(size)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
times, pixels = {}, {}


def note(name, path, seconds):
    times.setdefault(name, {}).setdefault(path, []).append(seconds)


def run_ours(path):
    ours.stdin.write(path + "\n")
    ours.stdin.flush()
    while (line := ours.stdout.readline().split()) != ["."]:
        if not line:
            sys.exit("the program stopped")
        if line[0] == "pixels":
            pixels[path] = int(line[1])
        else:
            note(line[0], path, float(line[1]))


def run_peer(path):
    start = time.thread_time()
    with Image.open(path) as image:
        rgb = image.convert("RGB")
    decoded = time.thread_time()
    transform(rgb)
    end = time.thread_time()
    rgb.resize((size, size), Image.BILINEAR)
    resized = time.thread_time()
    note("pillow decode", path, decoded - start)
    note("pillow decode+resize", path, end - start)
    note("pillow resize", path, resized - end)


for turn in range(rounds):
    for path in files:
        for run in (run_ours, run_peer) if turn % 2 else (run_peer, run_ours):
            run(path)
ours.stdin.close()
ours.wait()


def total(name, of):
    return sum(of(t) for t in times[name].values())


def ratio(a, b):
    if a in times and b in times:
        print("%-60s %6.3f  (medians %6.3f)" % ("%s : %s" % (a, b), total(a, min) / total(b, min), total(a, statistics.median) / total(b, statistics.median)))


print("%d files, %d rounds, to %d x %d; Pillow %s with libjpeg-turbo %s, zlib %s; %s" % (
    len(files), rounds, size, size, PIL.__version__, features.version("libjpeg_turbo"), features.version("zlib"), version))
n_pixels = sum(pixels.values())
for name in sorted(times):
    seconds = total(name, min)
    print("%-24s %8.3f ms per image, %7.1f Mpixel/s of input" % (name, 1e3 * seconds / len(files), n_pixels / seconds / 1e6))
print("ratios of times:")
ratio("pillow decode+resize", "decode+resize")
for name in sorted(times):
    if name.startswith("decode+resize"):
        ratio(name, "libjpeg")
ratio("decode", "libjpeg")
ratio("fast_decode+resize", "libjpeg")
ratio("pillow decode", "decode")
for name in sorted(times):
    if name.startswith("resize"):
        ratio("pillow resize", name)
