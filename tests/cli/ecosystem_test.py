#!/usr/bin/env python3
"""Networks of timm, torchvision, transformers and OpenCLIP at full size: fine-tuned by mcci, loaded back by their library.

    ecosystem_test.py PATH_TO_MCCI PACKAGES [NAME...]      NAMEs: those of the table below; default: all

PACKAGES is the folder that `./dev ecosystem` fills from PyPI. Each network starts with random weights, as its library makes
it and saves it; `mcci train` tunes all of it by one step, `mcci export` writes it, the library loads that strictly, and its
logits are those that mcci gives for the same images.
"""
import json
import os
import pathlib
import sys
import tempfile

from command import SKIPPED, run

TOOL, PACKAGES = sys.argv[1:3]
CLASSES = 3
TOLERANCE = 1e-4


class WithHead:
    """A body of which the class token is read by a linear head, that mcci writes beside it."""

    def __init__(self, body, features):
        self.body, self.features = body, features

    def load(self, weights):
        self.head = [weights.pop(name) for name in ("head.weight", "head.bias")]
        self.body.load_state_dict(weights, strict=True)
        self.body.eval()

    def logits(self, x):
        return torch.nn.functional.linear(self.features(self.body, x), *self.head)


class Whole:
    """A classifier with a head of its own."""

    def __init__(self, body, logits=lambda body, x: body(x)):
        self.body, self.logits_of = body, logits

    def load(self, weights):
        self.body.load_state_dict(weights, strict=True)
        self.body.eval()

    def logits(self, x):
        return self.logits_of(self.body, x)


def timm_model(name):
    return lambda: Whole(timm.create_model(name, num_classes=CLASSES))


def torchvision_model(name):
    return lambda: Whole(getattr(torchvision.models, name)(num_classes=CLASSES))


def transformers_model(name, config):
    """A classifier of this library answers with an object that has the logits."""
    return lambda: Whole(getattr(transformers, name)(getattr(transformers, config)(num_labels=CLASSES)),
                         lambda body, x: body(x).logits)


def transformers_clip():
    body = transformers.CLIPVisionModel(transformers.CLIPVisionConfig())
    return WithHead(body, lambda body, x: body(x).pooler_output)


def transformers_blip():
    body = transformers.BlipVisionModel(transformers.BlipVisionConfig(image_size=224))
    return WithHead(body, lambda body, x: body(x).last_hidden_state[:, 0])


def openclip():
    from open_clip.transformer import QuickGELU, VisionTransformer
    body = VisionTransformer(224, 32, 768, 12, 12, 4.0, output_dim=512, act_layer=QuickGELU)
    body.proj = None
    return WithHead(body, lambda body, x: body(x))


# Name: architecture, the library's model.
NETWORKS = {
    "timm-vit": ("vit_tiny_patch16_224", timm_model("vit_tiny_patch16_224")),
    "timm-dinov2": ("vit_small_patch14_reg4_dinov2", lambda: Whole(
        timm.create_model("vit_small_patch14_reg4_dinov2", img_size=224, num_classes=CLASSES))),
    "timm-efficientnet": ("tf_efficientnet_b0", timm_model("tf_efficientnet_b0")),
    "timm-convnext": ("convnext_tiny", timm_model("convnext_tiny")),
    "timm-resnet": ("resnet18", timm_model("resnet18")),
    "torchvision-vit": ("vit_b_32", torchvision_model("vit_b_32")),
    "torchvision-efficientnet": ("efficientnet_b0", torchvision_model("efficientnet_b0")),
    "torchvision-convnext": ("convnext_tiny", torchvision_model("convnext_tiny")),
    "torchvision-resnet": ("resnet50", torchvision_model("resnet50")),
    "transformers-vit": ("vit_base_patch16_224",
                         transformers_model("ViTForImageClassification", "ViTConfig")),
    "transformers-convnext": ("convnext_tiny",
                              transformers_model("ConvNextForImageClassification", "ConvNextConfig")),
    "transformers-resnet": ("resnet50", transformers_model("ResNetForImageClassification", "ResNetConfig")),
    "transformers-clip": ("vit_base_patch32_clip_quickgelu_224", transformers_clip),
    "transformers-blip": ("vit_base_patch16_blip_384", transformers_blip),
    "openclip": ("vit_base_patch32_clip_quickgelu_224", openclip),
}


def write_images(folder, size):
    """Four noisy images of each of three colours."""
    torch.manual_seed(1)
    for label in range(CLASSES):
        (folder / f"class{label}").mkdir(parents=True)
        for index in range(4):
            image = torch.randint(0, 120, (3, size, size), dtype=torch.uint8)
            image[label] += 120
            torchvision.io.write_png(image, str(folder / f"class{label}" / f"{index}.png"))


def check(name, data, folder):
    architecture, make = NETWORKS[name]
    torch.manual_seed(2)
    model = make()
    save_file(model.body.state_dict(), folder / "given.safetensors", {"format": "pt"})
    run(TOOL, "train", "--data", data, "--out", folder / "run", "--defense", "none", "--backbone", architecture, "--weights",
        folder / "given.safetensors", "--normalise", "--epochs", 1, "--batch-size", 16, "--optimizer", "adamw", "--lr", 1e-4,
        "--precision", "fp32", "--image-size", 224, "--channels", 3, "--seed", 3)
    run(TOOL, "export", folder / "run", "--out", folder / "back.safetensors", "--reference")
    weights = load_file(folder / "back.safetensors")
    trained = sum(not torch.equal(tensor, weights[key]) for key, tensor in model.body.state_dict().items()
                  if key in weights and tensor.shape == weights[key].shape and tensor.dim() > 1)
    if trained == 0:
        sys.exit(f"{name}: no matrix was trained")
    torch.manual_seed(4)
    again = make()
    again.load(weights)
    about = json.loads((folder / "back.json").read_text())
    example = load_file(folder / "back-reference.safetensors")
    mean, std = (torch.tensor(about[key]).view(-1, 1, 1) for key in ("mean", "std"))
    with torch.no_grad():
        logits = again.logits((example["input"] - mean) / std)
    error = ((logits - example["logits"]).abs().max() / example["logits"].abs().max()).item()
    if not error <= TOLERANCE:
        sys.exit(f"{name}: the logits differ by {error:.3g} of the largest")
    print(f"{name}: {architecture}, layout {about['layout']}, {trained} matrices trained, {len(weights)} tensors loaded "
          f"strictly, logits differ by {error:.1e}", flush=True)


def main():
    names = sys.argv[3:] or NETWORKS
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        write_images(folder / "data", 224)
        for name in names:
            (folder / name).mkdir()
            check(name, folder / "data", folder / name)


if __name__ == "__main__":
    if not os.path.isdir(PACKAGES):
        print(f"{PACKAGES} is not there: ./dev ecosystem")
        sys.exit(SKIPPED)
    sys.path.insert(0, PACKAGES)
    import timm
    import torch
    import torchvision
    import transformers
    from safetensors.torch import load_file, save_file
    main()
