"""torchvision's side of bench/augment: ms per image of the reference's training transforms on 8-bit Pillow images, on one
thread: the augmentation, ToTensor and Normalize, without decoding and resizing. The pictures are those of bench/augment.c in kind.
usage: python peer_augment.py [IMAGES [ROUNDS [IMAGE_SIZE]]]"""
import sys
import time

import numpy as np
import PIL
import torch
import torchvision
from PIL import Image
from torchvision import transforms as T

n, rounds, side = (int(a) for a in (sys.argv[1:] + ["48", "5", "224"][len(sys.argv) - 1:]))
torch.set_num_threads(1)
rng = np.random.default_rng(1)
y, x = np.mgrid[:side, :side]
images = [Image.fromarray(np.stack([x * 100 // side + y * (c + 1) * 30 // side + rng.integers(0, 32, (side, side)) for c in range(3)], -1)
                          .astype(np.uint8)) for _ in range(n)]
end = [T.ToTensor(), T.Normalize([0.47, 0.447, 0.408], [0.233, 0.228, 0.231])]
flip = T.RandomHorizontalFlip()
kinds = {"none": [flip], "colour": [T.ColorJitter(0.1, 0.1, 0.1, 0.1), flip], "rotation": [T.RandomRotation(5), flip],
         "colour, pixels alone": [T.ColorJitter(0.1, 0.1, 0.1, 0.1)]}
print(f"torchvision {torchvision.__version__}, Pillow {PIL.__version__}, 1 thread, {side} px")
for name, first in kinds.items():
    transform = T.Compose(first + (end if "alone" not in name else []))
    best = float("inf")
    for _ in range(rounds):
        start = time.perf_counter()
        for image in images:
            transform(image)
        best = min(best, time.perf_counter() - start)
    print(f"  {name:22} {best / n * 1e3:8.4f} ms an image, {best / n / side / side * 1e9:6.2f} ns a pixel, {n / best:8.0f} images/s")
