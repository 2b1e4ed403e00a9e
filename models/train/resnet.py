"""The residual networks for CIFAR of He et al. 2016 (https://arxiv.org/abs/1512.03385, section 4.2), by their depth.

Shortcuts are theirs of option A: where a stage halves the image, every other pixel is taken and the new channels are
zeros, so that a shortcut has no weights. Weights of a given ONNX file can be taken over; the files of the
akamaster/pytorch_resnet_cifar10 networks name them as this network does. Takes raw pixels.
"""

from __future__ import annotations

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn
from torch.nn import functional

from service.core.contract import Array
from service.runtime.onnx import OnnxRunner
from service.runtime.providers import RunnerOptions

# Of the ImageNet images, as the given weights were trained with.
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PIXEL_RANGE = 255.0
WIDTHS = (16, 32, 64)
FINAL_PIXELS = 8


class OtherWeights(ValueError):
    """A given file's weights are not those of this network."""


class Block(nn.Module):
    """Two convolutions beside a shortcut; with more outputs than inputs it halves the image."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.stride = 1 if inputs == outputs else 2
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=self.stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.new_channels = (outputs - inputs) // 2

    def forward(self, image: Tensor) -> Tensor:
        """(n, inputs, height, width) -> (n, outputs, height / stride, width / stride)."""
        answer = functional.relu(self.bn1(self.conv1(image)))
        answer = self.bn2(self.conv2(answer))
        if self.stride > 1:
            image = functional.pad(image[:, :, ::2, ::2], (0, 0, 0, 0, self.new_channels, self.new_channels))
        return functional.relu(answer + image)


class ResNet(nn.Module):
    """A network of `6 * blocks + 2` layers: ResNet-20 has 3 blocks a stage and ResNet-56 has 9.

    Args:
        blocks: of each of the three stages.
    """

    def __init__(self, blocks: int) -> None:
        super().__init__()
        first, second, third = WIDTHS
        mean, deviation = (torch.tensor(one).view(1, 3, 1, 1) for one in (MEAN, DEVIATION))
        self.register_buffer("scale", 1 / (deviation * PIXEL_RANGE), persistent=False)
        self.register_buffer("shift", mean / deviation, persistent=False)
        self.conv1 = nn.Conv2d(3, first, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(first)
        self.layer1 = _stage(first, first, blocks)
        self.layer2 = _stage(first, second, blocks)
        self.layer3 = _stage(second, third, blocks)
        self.linear = nn.Linear(third, 10)

    def forward(self, image: Tensor) -> Tensor:
        """Logits, float32 (n, 10), of raw images, float32 (n, 3, 32, 32), RGB with values 0..255."""
        trunk = functional.relu(self.bn1(self.conv1(image * self.scale - self.shift)))
        trunk = self.layer3(self.layer2(self.layer1(trunk)))
        logits: Tensor = self.linear(functional.avg_pool2d(trunk, FINAL_PIXELS).flatten(1))
        return logits


def trunk_layers(network: ResNet) -> tuple[str, ...]:
    """The layers that write into the trunk: cutting their channels would cut through the shortcuts' zeros."""
    return ("conv1", *(f"{name}.conv2" for name, layer in network.named_modules() if isinstance(layer, Block)))


def take_weights(network: ResNet, model: bytes) -> None:
    """Fills the network from an ONNX file's initializers of the same names, in place, and leaves it in eval mode.

    Raises:
        OtherWeights: a weight is missing or has another shape.
    """
    given = {one.name: numpy_helper.to_array(one) for one in onnx.load_from_string(model).graph.initializer}
    state = network.state_dict()
    for name, own in state.items():
        if name.endswith("num_batches_tracked"):
            continue
        there = given.get(name)
        if there is None or there.shape != tuple(own.shape):
            what = "lacks it" if there is None else f"has it as {there.shape}"
            raise OtherWeights(f"The network has a weight {name} {tuple(own.shape)}, and the file {what}.")
        state[name] = torch.from_numpy(there.copy())
    network.load_state_dict(state)
    network.eval()


def difference(network: ResNet, model: bytes, images: Array) -> float:
    """The largest difference between the network's logits and those of a given file, which takes normalised pixels.

    Args:
        network: filled from the file.
        model: the ONNX file; its one input takes (pixels / 255 - MEAN) / DEVIATION.
        images: float32 (n, 3, 32, 32) with values 0..255.
    """
    runner = OnnxRunner.load(model, {}, RunnerOptions(provider="cpu", threads=1))
    mean, deviation = (np.array(one, np.float32).reshape(1, 3, 1, 1) for one in (MEAN, DEVIATION))
    normalised = ((images / np.float32(PIXEL_RANGE) - mean) / deviation).astype(np.float32)
    answers = runner.run({runner.inputs[0].name: normalised})[runner.outputs[0].name]
    runner.close()
    with torch.no_grad():
        own = network.eval()(torch.from_numpy(images)).numpy()
    return float(np.abs(own - answers).max())


def _stage(inputs: int, outputs: int, blocks: int) -> nn.Sequential:
    return nn.Sequential(*(Block(inputs if block == 0 else outputs, outputs) for block in range(blocks)))
