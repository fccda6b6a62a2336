#!/usr/bin/python3
"""Checks an exported model against torchvision: strict loading, then equal logits.

    tests/parity/check_export.py WEIGHTS IO.safetensors [--arch resnet18] [--heads 3] [--tolerance 1e-4]

WEIGHTS is .safetensors or .pth; the prefix that WEIGHTS.json names is taken off its names. IO holds `input` [B,C,H,W] in [0,1], which is normalised by mean and std of WEIGHTS.json, if there is one, and
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


def vision_transformer(weights, heads):
    _, width = weights["heads.head.weight"].shape
    patch = weights["conv_proj.weight"].shape[-1]
    side = round((weights["encoder.pos_embedding"].shape[1] - 1) ** 0.5)
    depth = sum(name.endswith("ln_1.weight") for name in weights)
    return torchvision.models.VisionTransformer(side * patch, patch, depth, heads, width, 4 * width,
                                                num_classes=weights["heads.head.weight"].shape[0])


def efficientnet(weights):
    """efficientnet_b0, with all channels in proportion to the last ones."""
    from torchvision.models.efficientnet import EfficientNet, MBConvConfig
    classes, features = weights["classifier.1.weight"].shape
    scale = features / 1280
    settings = [MBConvConfig(*stage, width_mult=scale) for stage in (
        (1, 3, 1, 32, 16, 1), (6, 3, 2, 16, 24, 2), (6, 5, 2, 24, 40, 2), (6, 3, 2, 40, 80, 3), (6, 5, 1, 80, 112, 3),
        (6, 5, 2, 112, 192, 4), (6, 3, 1, 192, 320, 1))]
    return EfficientNet(settings, dropout=0.2, num_classes=classes, last_channel=features)


def build(arch, weights, heads):
    """torchvision's own model; a ResNet has the stem customary for small images if its first convolution is 3x3."""
    if arch == "vit":
        return vision_transformer(weights, heads)
    if arch == "efficientnet":
        return efficientnet(weights)
    model = getattr(torchvision.models, arch)(num_classes=weights["fc.weight"].shape[0])
    width, channels, kernel, _ = weights["conv1.weight"].shape
    if kernel == 3:
        model.conv1 = torch.nn.Conv2d(channels, width, 3, stride=1, padding=1, bias=False)
        model.maxpool = torch.nn.Identity()
    elif channels != 3:
        model.conv1 = torch.nn.Conv2d(channels, width, 7, stride=2, padding=3, bias=False)
    return model


def read(path):
    if pathlib.Path(path).suffix == ".pth":
        return torch.load(path, weights_only=True)
    return safetensors_io.load(path)


def difference(weights_path, io_path, arch, heads):
    weights, io = read(weights_path), safetensors_io.load(io_path)
    x = io["input"].float()
    description = pathlib.Path(weights_path).with_suffix(".json")
    if description.exists():
        values = json.loads(description.read_text())
        mean, std = (torch.tensor(values[key]).view(-1, 1, 1) for key in ("mean", "std"))
        x = (x - mean) / std
        weights = {name[len(values["prefix"]):]: tensor for name, tensor in weights.items()}
    model = build(arch, weights, heads)
    model.load_state_dict(weights, strict=True)
    model.eval()
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
    parser.add_argument("--arch", default="resnet18", help="a ResNet of torchvision.models, vit or efficientnet")
    parser.add_argument("--heads", type=int, default=3, help="of a vit, which its weights do not tell")
    parser.add_argument("--tolerance", type=float, default=1e-4)
    arguments = parser.parse_args()
    try:
        error = difference(arguments.weights, arguments.io, arguments.arch, arguments.heads)
    except (OSError, ValueError, KeyError, RuntimeError, AttributeError) as reason:
        sys.exit(f"{arguments.weights}: {type(reason).__name__}: {reason}")
    if not error <= arguments.tolerance:
        sys.exit(f"{arguments.weights}: the logits differ by {error:.3g}, more than {arguments.tolerance:.3g}")
    print(f"{arguments.weights}: loads strictly into torchvision's {arguments.arch}; logits differ by {error:.3g}")


if __name__ == "__main__":
    main()
