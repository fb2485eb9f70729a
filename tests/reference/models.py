"""PyTorch's model behind each of anyclass's model names: torchvision's, but TResNet (tresnet.py) and MaxViT-S, which torchvision has the
class for but no name."""
import os
import sys

import torchvision
from torchvision.models.maxvit import MaxVit

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import tresnet


def make_model(name, num_classes, side=224):
    """The model with fresh weights, for images of side x side; nothing is dropped unless the model does so by itself (MaxViT)."""
    if name in tresnet.SIZES:
        return tresnet.TResNet(name, num_classes)
    if name == "maxvit_s":
        return MaxVit(input_size=(side, side), stem_channels=64, block_channels=[96, 192, 384, 768], block_layers=[2, 2, 5, 2], head_dim=32,
                      stochastic_depth_prob=0.2, partition_size=7, num_classes=num_classes)
    if name.startswith("maxvit"):
        return torchvision.models.get_model(name, num_classes=num_classes, input_size=(side, side))
    if name.startswith("vit"):
        return torchvision.models.get_model(name, num_classes=num_classes, image_size=side)
    return torchvision.models.get_model(name, num_classes=num_classes)
