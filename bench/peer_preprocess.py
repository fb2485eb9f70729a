"""What a PyTorch user's script does instead of anyclass-preprocess: Pillow decodes, torchvision resizes, pixels go to one raw file.
usage: peer_preprocess.py OUTPUT SIZE <LIST; prints seconds of the clock and of the processor."""
import sys
import time

import numpy
import torch
import torchvision
from PIL import Image

torch.set_num_threads(1)
size = int(sys.argv[2])
resize = torchvision.transforms.Resize((size, size), antialias=True)
start, cpu = time.time(), time.process_time()
with open(sys.argv[1], "wb") as out:
    for line in sys.stdin:
        out.write(numpy.asarray(resize(Image.open(line.strip()).convert("RGB"))).tobytes())
print(time.time() - start, time.process_time() - cpu)  # without the imports
