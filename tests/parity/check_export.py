#!/usr/bin/python3
"""Checks an exported model against torchvision: strict loading, then equal logits.

    tests/parity/check_export.py WEIGHTS.safetensors IO.safetensors [--arch resnet18] [--tolerance 1e-4]

IO holds `input` [B,C,H,W] in [0,1], which is normalised by mean and std of WEIGHTS.json, if there is one, and
`logits` [B,classes]. Exits 1, saying why, if they differ by more than the tolerance relative to the largest logit, or if
the weights do not fit.
"""
import argparse
import json
import pathlib
import sys

import torch
import torchvision

import safetensors_io


def build(arch, weights):
    """torchvision's own model; with the stem customary for small images if the file has a 3x3 first convolution."""
    model = getattr(torchvision.models, arch)(num_classes=weights["fc.weight"].shape[0])
    width, channels, kernel, _ = weights["conv1.weight"].shape
    if kernel == 3:
        model.conv1 = torch.nn.Conv2d(channels, width, 3, stride=1, padding=1, bias=False)
        model.maxpool = torch.nn.Identity()
    elif channels != 3:
        model.conv1 = torch.nn.Conv2d(channels, width, 7, stride=2, padding=3, bias=False)
    return model


def difference(weights_path, io_path, arch):
    weights, io = safetensors_io.load(weights_path), safetensors_io.load(io_path)
    model = build(arch, weights)
    model.load_state_dict(weights, strict=True)
    model.eval()
    x = io["input"].float()
    description = pathlib.Path(weights_path).with_suffix(".json")
    if description.exists():
        values = json.loads(description.read_text())
        mean, std = (torch.tensor(values[key]).view(-1, 1, 1) for key in ("mean", "std"))
        x = (x - mean) / std
    with torch.no_grad():
        logits = model(x)
    expected = io["logits"].float()
    if logits.shape != expected.shape:
        raise ValueError(f"the logits have the shape {list(logits.shape)}, not {list(expected.shape)}")
    return ((logits - expected).abs().max() / expected.abs().max()).item()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights")
    parser.add_argument("io")
    parser.add_argument("--arch", default="resnet18", help="a function of torchvision.models with conv1 and fc")
    parser.add_argument("--tolerance", type=float, default=1e-4)
    arguments = parser.parse_args()
    try:
        error = difference(arguments.weights, arguments.io, arguments.arch)
    except (OSError, ValueError, KeyError, RuntimeError, AttributeError) as reason:
        sys.exit(f"{arguments.weights}: {type(reason).__name__}: {reason}")
    if not error <= arguments.tolerance:
        sys.exit(f"{arguments.weights}: the logits differ by {error:.3g}, more than {arguments.tolerance:.3g}")
    print(f"{arguments.weights}: loads strictly into torchvision's {arguments.arch}; logits differ by {error:.3g}")


if __name__ == "__main__":
    main()
