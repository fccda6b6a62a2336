#!/usr/bin/env python3
"""The paper's model and training step in PyTorch, written the straightforward way: eager, fp32, contiguous, and
the spectrum by SciPy for each image and channel. What mcci's speed is compared with; written from the paper for
this purpose, it shares nothing with mcci.

    reference.py [--threads N] train WIDTH       training steps of ResNet-18 (32x32) with the AIN, batch 128
    reference.py [--threads N] small WIDTH       of the ResNet-8 and the AIN, grey images of 16x16
    reference.py [--threads N] plain WIDTH       of the ResNet-18 alone
    reference.py [--threads N] predict WIDTH BATCH     the ResNet-18 alone, in evaluation mode
    reference.py [--threads N] spectrum SIZE loop|batch     3-channel spectra, one by one or all at once
    reference.py [--threads N]                   measures what each line of standard input names, as above

Prints one line of JSON for each measurement. Without --threads PyTorch takes as many as it does by itself.
"""

import argparse
import ctypes
import json
import sys
import time

import numpy as np
import scipy.fft
import scipy.fftpack
import torch
from torch import nn
from torch.nn import functional as F

BATCH = 128
CLASSES = 10
EMBEDDING = 100


class BasicBlock(nn.Module):
    def __init__(self, inputs, channels, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x):
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return F.relu(out + self.shortcut(x))


class ResNet(nn.Module):
    """For small images: a 3x3 stem without pooling. ResNet-18 has 4 stages of 2 blocks, ResNet-8 3 of 1."""

    def __init__(self, width, outputs, stages=4, blocks=2, colours=3):
        super().__init__()
        layers = [nn.Conv2d(colours, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        inputs = width
        for stage in range(stages):
            channels = width << stage
            for block in range(blocks):
                layers.append(BasicBlock(inputs, channels, 2 if stage > 0 and block == 0 else 1))
                inputs = channels
        self.features = nn.Sequential(*layers)
        self.fc = nn.Linear(inputs, outputs)

    def forward(self, x):
        return self.fc(F.adaptive_avg_pool2d(self.features(x), 1).flatten(1))


class AttackIndicationNetwork(nn.Module):
    def __init__(self, colours, size):
        super().__init__()
        layers = []
        inputs = colours
        for channels, dropout in ((32, 0.2), (64, 0.3), (128, 0.4)):
            for _ in range(2):
                layers += [
                    nn.Conv2d(inputs, channels, 3, padding=1, bias=False),
                    nn.ELU(),
                    nn.BatchNorm2d(channels),
                ]
                inputs = channels
            layers += [nn.MaxPool2d(2), nn.Dropout(dropout)]
        self.features = nn.Sequential(*layers)
        self.fc = nn.Linear(inputs * (size // 8) ** 2, EMBEDDING)

    def forward(self, spectrum):
        return self.fc(self.features(spectrum).flatten(1))


class Mcci(nn.Module):
    def __init__(self, sfrn, colours=3, size=32):
        super().__init__()
        self.sfrn = sfrn
        self.ain = AttackIndicationNetwork(colours, size)
        self.head = nn.Linear(2 * EMBEDDING, CLASSES)

    def forward(self, images):
        z = self.sfrn(images)
        z_f = self.ain(spectra(images))
        return self.head(torch.cat((z, z_f), dim=1))


def dct2(plane):
    return scipy.fftpack.dct(scipy.fftpack.dct(plane.T, norm="ortho").T, norm="ortho")


def spectra(images):
    pixels = torch.floor(images * 255).numpy()
    result = np.zeros_like(pixels)
    for i in range(pixels.shape[0]):
        for channel in range(pixels.shape[1]):
            result[i, channel] = dct2(pixels[i, channel])
    return torch.from_numpy(result)


def spectra_at_once(images):
    """Not what a first program does: SciPy at its best, as the other bound."""
    pixels = torch.floor(images * 255).numpy()
    return torch.from_numpy(
        scipy.fft.dctn(pixels, axes=(2, 3), norm="ortho", workers=torch.get_num_threads())
    )


def training(model, colours=3, size=32):
    optimizer = torch.optim.Adadelta(model.parameters(), lr=0.1, weight_decay=1e-4)
    images = torch.rand(BATCH, colours, size, size)
    labels = torch.randint(0, CLASSES, (BATCH,))

    def step():
        optimizer.zero_grad()
        F.cross_entropy(model(images), labels).backward()
        optimizer.step()

    return step, BATCH


def prediction(width, batch):
    model = ResNet(width, CLASSES).eval()
    images = torch.rand(batch, 3, 32, 32)

    def predict():
        with torch.no_grad():
            model(images)

    return predict, batch


def transformation(size, transform):
    images = torch.rand(BATCH if size < 128 else 16, 3, size, size)
    return lambda: transform(images), len(images)


def work_of(words):
    """What a request names: a function to be timed, and how many images it takes."""
    kind, size = words[0], int(words[1])
    if kind == "train":
        return training(Mcci(ResNet(size, EMBEDDING)))
    if kind == "small":
        return training(Mcci(ResNet(size, EMBEDDING, stages=3, blocks=1, colours=1), 1, 16), 1, 16)
    if kind == "plain":
        return training(ResNet(size, CLASSES))
    if kind == "predict":
        return prediction(size, int(words[2]))
    if kind == "spectrum":
        return transformation(size, {"loop": spectra, "batch": spectra_at_once}[words[2]])
    raise SystemExit(f"reference.py: there is no measurement '{kind}'")


def measure(work, images, seconds):
    """Images per second over at least `seconds`, and one call."""
    calls = 0
    start = time.perf_counter()
    while calls == 0 or time.perf_counter() - start < seconds:
        work()
        calls += 1
    return calls * images / (time.perf_counter() - start)


def keep_freed_memory():
    """What mcci asks of the C library's allocator: not to return large blocks to the kernel."""
    m_trim_threshold, m_mmap_threshold = -1, -3
    libc = ctypes.CDLL(None)
    libc.mallopt(m_mmap_threshold, 1 << 30)
    libc.mallopt(m_trim_threshold, 2**31 - 1)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, help="default: PyTorch's own, half of the cores")
    parser.add_argument("--allocator", choices=("default", "keep"), default="default")
    parser.add_argument("--seconds", type=float, default=1.0, help="least duration of a measurement")
    parser.add_argument("measurement", nargs="*")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    if arguments.allocator == "keep":
        keep_freed_memory()

    prepared = {}  # by request; ready for another round
    for line in [" ".join(arguments.measurement)] if arguments.measurement else sys.stdin:
        request = line.strip()
        if request not in prepared:
            prepared[request] = work_of(request.split())
            prepared[request][0]()  # warm-up
        rate = measure(*prepared[request], arguments.seconds)
        answer = {
            "measurement": request,
            "value": rate,
            "unit": "images/s",
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
        }
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
