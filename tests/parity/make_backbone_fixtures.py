#!/usr/bin/python3
"""Writes tests/fixtures/backbone_*.safetensors: what the libraries that publish weights compute, in their layouts.

    tests/parity/make_backbone_fixtures.py [FIXTURE...]      default: all of them

Needs Debian 12's python3-torch (1.13) and python3-torchvision (0.14.1), and of PyPI, installed with --no-deps into a
virtual environment with --system-site-packages: timm 0.9.16, transformers 4.36.2, open_clip_torch 2.24.0,
efficientnet-lite-pytorch 0.1.0, and what they import: safetensors 0.4.3, tokenizers 0.15.2, huggingface_hub 0.20.3,
ftfy, regex, wcwidth, tqdm, fsspec, filelock, packaging.

The models are tiny. DINOv2's own code is on no registry: its layout is timm's model under its names (`dinov2_own`).
"""
import functools

import torch
from torch import nn

from fixtures import calibrate, half_exact, weights_of, write

WIDTH, DEPTH, SIZE, CLASSES = 24, 2, 48, 10


def settle(model):
    """Random parameters that no initialisation hides (zeros, ones, 1e-6), exact in float16."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 4:
                parameter.normal_(std=parameter[0].numel() ** -0.5)
            elif parameter.dim() == 1 and not name.endswith("bias"):  # scales
                parameter.copy_(0.5 + torch.rand_like(parameter))
            else:
                parameter.normal_(std=0.2)
            parameter.copy_(half_exact(parameter))
    return model


def images(size=SIZE, batch=3):
    size = (size, size) if isinstance(size, int) else size
    return half_exact(torch.rand(batch, 3, *size))


def compared(model, logits_of, names, size=SIZE, batch=3, weights=None):
    """Input, logits in evaluation mode, and the gradients, by our names, of the parameters {ours: theirs}."""
    x = images(size, batch)
    if any(isinstance(module, nn.BatchNorm2d) for module in model.modules()):
        calibrate(model, x)
    for buffer in model.buffers():
        buffer.copy_(half_exact(buffer).to(buffer.dtype))
    model.eval()
    logits = logits_of(model, x)
    labels = torch.arange(batch) % logits.shape[1]
    loss = nn.functional.cross_entropy(logits, labels)
    parameters = dict(model.named_parameters())
    gradients = torch.autograd.grad(loss, [parameters[theirs] for theirs in names.values()])
    return {"input": x.half(), "labels": labels, "logits": logits, **(weights or in_half(weights_of(model))),
            **{"grad." + ours: gradient for ours, gradient in zip(names, gradients)}}


def in_half(weights):
    return {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in weights.items()}


def plainly(model, x):
    return model(x)


# --- vision transformers ---

TIMM_NAMES = {name: name for name in
              ("cls_token", "pos_embed", "patch_embed.proj.weight", "blocks.0.attn.qkv.weight", "blocks.1.attn.qkv.bias",
               "blocks.0.mlp.fc1.weight", "blocks.1.norm2.bias", "head.weight")}


def timm_vit(**options):
    from timm.models.vision_transformer import VisionTransformer
    return settle(VisionTransformer(**{**dict(img_size=SIZE, patch_size=16, embed_dim=WIDTH, depth=DEPTH, num_heads=3,
                                              num_classes=CLASSES), **options}))


def vit_timm():
    """Also the same weights for images of other sizes."""
    model = timm_vit(dynamic_img_size=True, dynamic_img_pad=True)
    tensors = compared(model, plainly, TIMM_NAMES)
    for name, size in (("larger", 80), ("smaller", 32), ("oblong", (32, 64)), ("padded", (40, 59))):
        x = images(size, 1)
        tensors.update({f"{name}.input": x.half(), f"{name}.logits": model(x)})
    return tensors


def vit_torchvision():
    from torchvision.models.vision_transformer import VisionTransformer
    model = settle(VisionTransformer(SIZE, 16, DEPTH, 3, WIDTH, 4 * WIDTH, num_classes=CLASSES))
    block = "encoder.layers.encoder_layer_0."
    return compared(model, plainly, {
        "cls_token": "class_token", "pos_embed": "encoder.pos_embedding", "norm.bias": "encoder.ln.bias",
        "blocks.0.attn.qkv.weight": block + "self_attention.in_proj_weight",
        "blocks.0.mlp.fc2.weight": block + "mlp.3.weight"})


def vit_transformers():
    from transformers import ViTConfig, ViTForImageClassification
    model = settle(ViTForImageClassification(ViTConfig(
        hidden_size=WIDTH, num_hidden_layers=DEPTH, num_attention_heads=3, intermediate_size=4 * WIDTH, image_size=SIZE,
        num_labels=CLASSES)))
    block = "vit.encoder.layer.0."
    return compared(model, lambda m, x: m(x).logits, {
        "cls_token": "vit.embeddings.cls_token", "blocks.0.norm2.weight": block + "layernorm_after.weight",
        "blocks.0.mlp.fc1.weight": block + "intermediate.dense.weight", "head.bias": "classifier.bias"})


# --- CLIP: the projection is the head ---

def clip_openclip():
    from open_clip.transformer import QuickGELU, VisionTransformer
    model = settle(VisionTransformer(SIZE, 16, WIDTH, DEPTH, 12, 4.0, output_dim=CLASSES, act_layer=QuickGELU))
    weights = weights_of(model, "weights.visual.")
    weights["weights.logit_scale"] = torch.ones(())
    weights["weights.transformer.resblocks.0.ln_1.weight"] = torch.ones(8)  # of a text tower
    return compared(model, plainly, {
        "cls_token": "class_embedding", "norm_pre.weight": "ln_pre.weight",
        "blocks.0.attn.qkv.weight": "transformer.resblocks.0.attn.in_proj_weight",
        "blocks.1.mlp.fc1.weight": "transformer.resblocks.1.mlp.c_fc.weight"}, weights=weights)


def clip_transformers():
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection
    model = settle(CLIPVisionModelWithProjection(CLIPVisionConfig(
        hidden_size=WIDTH, num_hidden_layers=DEPTH, num_attention_heads=12, intermediate_size=4 * WIDTH, image_size=64,
        patch_size=32, projection_dim=CLASSES, hidden_act="gelu")))
    block = "vision_model.encoder.layers.0."
    return compared(model, lambda m, x: m(x).image_embeds, {
        "head.weight": "visual_projection.weight", "blocks.0.mlp.fc2.bias": block + "mlp.fc2.bias",
        "norm.weight": "vision_model.post_layernorm.weight"}, size=64)


# --- DINOv2 and BLIP ---

def dinov2_timm():
    """With registers; timm's class token has no position."""
    model = timm_vit(img_size=42, patch_size=14, num_heads=6, init_values=1e-5, reg_tokens=4, no_embed_class=True)
    return compared(model, plainly, {name: name for name in
                                     ("cls_token", "reg_token", "blocks.0.ls1.gamma", "blocks.1.mlp.fc2.weight")},
                    size=42)


def dinov2_own():
    """The same network in the layout of facebookresearch/dinov2: the class token has a position."""
    model = timm_vit(img_size=42, patch_size=14, num_heads=6, init_values=1e-5, reg_tokens=4, no_embed_class=True)
    tensors = compared(model, plainly, {"blocks.0.ls2.gamma": "blocks.0.ls2.gamma"}, size=42)
    position = half_exact(torch.randn(1, 1, WIDTH))
    tensors["weights.cls_token"] = model.cls_token - position
    tensors["weights.pos_embed"] = torch.cat([position, model.pos_embed], 1)
    tensors["weights.register_tokens"] = tensors.pop("weights.reg_token")
    tensors["weights.mask_token"] = torch.zeros(1, WIDTH)
    return tensors


def dinov2_transformers():
    """The body and a linear head on the class token."""
    from transformers import Dinov2Config, Dinov2Model
    body = Dinov2Model(Dinov2Config(hidden_size=WIDTH, num_hidden_layers=DEPTH, num_attention_heads=6, image_size=42,
                                    patch_size=14))
    model = settle(nn.ModuleDict({"dinov2": body, "classifier": nn.Linear(WIDTH, CLASSES)}))
    block = "dinov2.encoder.layer.0."
    return compared(model, lambda m, x: m["classifier"](m["dinov2"](x).pooler_output), {
        "blocks.0.ls1.gamma": block + "layer_scale1.lambda1", "cls_token": "dinov2.embeddings.cls_token",
        "blocks.0.attn.proj.weight": block + "attention.output.dense.weight"}, size=42)


def blip_transformers():
    """The class token after the last norm (the library's pooler applies that norm twice) and a linear head."""
    from transformers import BlipVisionConfig, BlipVisionModel
    body = BlipVisionModel(BlipVisionConfig(hidden_size=WIDTH, num_hidden_layers=DEPTH, num_attention_heads=12,
                                            intermediate_size=4 * WIDTH, image_size=SIZE))
    body.head = nn.Linear(WIDTH, CLASSES)
    settle(body)
    return compared(body, lambda m, x: m.head(m(x).last_hidden_state[:, 0]), {
        "blocks.0.attn.qkv.weight": "encoder.layers.0.self_attn.qkv.weight", "norm.weight": "post_layernorm.weight",
        "cls_token": "embeddings.class_embedding"}, weights=weights_of(body, "weights.vision_model."))


# --- convolutional networks ---

def resnet_transformers():
    from transformers import ResNetConfig, ResNetForImageClassification
    model = settle(ResNetForImageClassification(ResNetConfig(
        embedding_size=4, hidden_sizes=[16, 32, 64, 128], depths=[2, 2, 2, 2], layer_type="bottleneck",
        num_labels=CLASSES)))
    stages = "resnet.encoder.stages."
    return compared(model, lambda m, x: m(x).logits, {
        "conv1.weight": "resnet.embedder.embedder.convolution.weight",
        "layer1.0.downsample.0.weight": stages + "0.layers.0.shortcut.convolution.weight",
        "layer2.1.conv2.weight": stages + "1.layers.1.layer.1.convolution.weight",
        "layer3.0.bn3.bias": stages + "2.layers.0.layer.2.normalization.bias", "fc.weight": "classifier.1.weight"},
        size=70)


STAGES = ("ds_r1_k3_s1_e1_c16", "ir_r2_k3_s2_e6_c24", "ir_r2_k5_s2_e6_c40", "ir_r3_k3_s2_e6_c80", "ir_r3_k5_s1_e6_c112",
          "ir_r4_k5_s2_e6_c192", "ir_r1_k3_s1_e6_c320")


def efficientnet_timm():
    """tf_efficientnet_b0 with all channels an eighth as many."""
    from timm.models._efficientnet_builder import decode_arch_def, round_channels
    from timm.models.efficientnet import EfficientNet
    rounded = functools.partial(round_channels, multiplier=4 / 32)
    model = settle(EfficientNet(
        decode_arch_def([[stage + "_se0.25"] for stage in STAGES]), num_classes=CLASSES, num_features=rounded(1280),
        round_chs_fn=rounded, act_layer=nn.SiLU, norm_layer=functools.partial(nn.BatchNorm2d, eps=1e-3), pad_type="same"))
    return compared(model, plainly, {name: name for name in (
        "conv_stem.weight", "blocks.0.0.conv_pw.weight", "blocks.3.1.conv_dw.weight", "blocks.4.0.se.conv_reduce.bias",
        "bn2.weight", "classifier.weight")}, size=45)


def efficientnet_torchvision():
    """efficientnet_b0 with all channels an eighth as many."""
    from torchvision.models.efficientnet import EfficientNet, MBConvConfig
    settings = [MBConvConfig(*stage, width_mult=4 / 32) for stage in (
        (1, 3, 1, 32, 16, 1), (6, 3, 2, 16, 24, 2), (6, 5, 2, 24, 40, 2), (6, 3, 2, 40, 80, 3), (6, 5, 1, 80, 112, 3),
        (6, 5, 2, 112, 192, 4), (6, 3, 1, 192, 320, 1))]
    model = settle(EfficientNet(settings, dropout=0.2, num_classes=CLASSES, last_channel=160))
    return compared(model, plainly, {
        "conv_stem.weight": "features.0.0.weight", "blocks.0.0.conv_pw.weight": "features.1.0.block.2.0.weight",
        "blocks.3.1.conv_dw.weight": "features.4.1.block.1.0.weight",
        "blocks.4.0.se.conv_reduce.bias": "features.5.0.block.2.fc1.bias", "bn2.weight": "features.8.1.weight"}, size=45)


def efficientnet_lite_pytorch():
    """efficientnet-lite0 of the package that publishes its weights, with all channels an eighth as many."""
    from efficientnet_lite_pytorch.model import EfficientNet
    from efficientnet_lite_pytorch.utils import get_model_params
    blocks, options = get_model_params("efficientnet-lite0", dict(
        width_coefficient=4 / 32, fix_head_stem=False, num_classes=CLASSES, image_size=45))
    model = settle(EfficientNet(blocks, options))
    for block in model._blocks:  # it holds [1] != 1 in the first block of a stage, which matters at this width only
        block._block_args = block._block_args._replace(
            stride=1 if block._block_args.stride == [1] else block._block_args.stride)
    return compared(model, plainly, {
        "conv_stem.weight": "_conv_stem.weight", "blocks.0.0.conv_pw.weight": "_blocks.0._project_conv.weight",
        "blocks.3.1.conv_dw.weight": "_blocks.6._depthwise_conv.weight", "classifier.bias": "_fc.bias"}, size=45)


def convnext_timm():
    from timm.models.convnext import ConvNeXt
    model = settle(ConvNeXt(depths=(1, 1, 1, 1), dims=(8, 16, 32, 64), num_classes=CLASSES))
    return compared(model, plainly, {name: name for name in (
        "stem.0.weight", "stages.0.blocks.0.gamma", "stages.1.downsample.0.weight", "stages.2.blocks.0.conv_dw.weight",
        "stages.3.blocks.0.mlp.fc1.weight", "head.norm.weight", "head.fc.weight")}, size=64)


def convnext_torchvision():
    from torchvision.models.convnext import CNBlockConfig, ConvNeXt
    model = settle(ConvNeXt([CNBlockConfig(8, 16, 1), CNBlockConfig(16, 32, 1), CNBlockConfig(32, 64, 1),
                             CNBlockConfig(64, None, 1)], num_classes=CLASSES))
    return compared(model, plainly, {
        "stem.0.weight": "features.0.0.weight", "stages.1.downsample.1.bias": "features.2.1.bias",
        "stages.3.blocks.0.mlp.fc2.weight": "features.7.0.block.5.weight", "head.norm.bias": "classifier.0.bias"}, size=64)


def convnext_transformers():
    from transformers import ConvNextConfig, ConvNextForImageClassification
    model = settle(ConvNextForImageClassification(ConvNextConfig(
        hidden_sizes=[8, 16, 32, 64], depths=[1, 1, 1, 1], num_labels=CLASSES)))
    stages = "convnext.encoder.stages."
    return compared(model, lambda m, x: m(x).logits, {
        "stem.1.weight": "convnext.embeddings.layernorm.weight",
        "stages.2.blocks.0.gamma": stages + "2.layers.0.layer_scale_parameter",
        "stages.1.downsample.0.weight": stages + "1.downsampling_layer.0.weight", "head.fc.weight": "classifier.weight"},
        size=64)


FIXTURES = (vit_timm, vit_torchvision, vit_transformers, clip_openclip, clip_transformers, dinov2_timm, dinov2_own,
            dinov2_transformers, blip_transformers, resnet_transformers, efficientnet_timm, efficientnet_torchvision,
            efficientnet_lite_pytorch, convnext_timm, convnext_torchvision, convnext_transformers)


if __name__ == "__main__":
    write(FIXTURES, "backbone_")
