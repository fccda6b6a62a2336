#include "mcci/nn/vit.hpp"

namespace mcci {
namespace {

using Kind = LayoutRow::Kind;
using Shape = LayoutRow::Shape;
using Rows = std::vector<LayoutRow>;

LayoutRow module(const std::string& own, const std::string& theirs, Shape shape = Shape::same) {
  return {own, {theirs}, Kind::module, shape};
}

LayoutRow tensor(const std::string& own, const std::string& theirs, Shape shape = Shape::same) {
  return {own, {theirs}, Kind::tensor, shape};
}

// Query, key and value, in one matrix here.
LayoutRow apart(const std::string& block, const std::string& q, const std::string& k, const std::string& v) {
  return {"blocks.#.attn.qkv", {block + q, block + k, block + v}, Kind::module, Shape::same};
}

Layout timm() {
  Layout layout;
  layout.name = "timm";
  for (const char* name : {"cls_token", "pos_embed", "blocks.#.ls1.gamma", "blocks.#.ls2.gamma"})
    layout.rows.push_back(tensor(name, name));
  for (const char* name :
       {"patch_embed.proj", "norm_pre", "blocks.#.norm1", "blocks.#.attn.qkv", "blocks.#.attn.proj",
        "blocks.#.norm2", "blocks.#.mlp.fc1", "blocks.#.mlp.fc2", "norm", "head"}) {
    layout.rows.push_back(module(name, name));
  }
  return layout;
}

// timm's models with registers, whose class token has no position.
Layout timm_registers() {
  Layout layout = timm();
  layout.name = "timm-registers";
  layout.rows.push_back(tensor("reg_token", "reg_token"));
  layout.class_position_in_token = true;
  return layout;
}

// The files that facebookresearch/dinov2 publishes, and the ViTs that its code makes.
Layout dinov2() {
  Layout layout = timm();
  layout.name = "dinov2";
  layout.rows.push_back(tensor("reg_token", "register_tokens"));
  layout.ignored = {"mask_token"};
  return layout;
}

// `fc1`, `fc2`: torchvision called them linear_1 and linear_2 before 0.12; the files it publishes still do.
Layout torchvision(const std::string& name, const std::string& fc1, const std::string& fc2) {
  const std::string block = "encoder.layers.encoder_layer_#.";
  Layout layout;
  layout.name = name;
  layout.rows = {
      tensor("cls_token", "class_token"),
      tensor("pos_embed", "encoder.pos_embedding"),
      module("patch_embed.proj", "conv_proj"),
      module("blocks.#.norm1", block + "ln_1"),
      tensor("blocks.#.attn.qkv.weight", block + "self_attention.in_proj_weight"),
      tensor("blocks.#.attn.qkv.bias", block + "self_attention.in_proj_bias"),
      module("blocks.#.attn.proj", block + "self_attention.out_proj"),
      module("blocks.#.norm2", block + "ln_2"),
      module("blocks.#.mlp.fc1", block + fc1),
      module("blocks.#.mlp.fc2", block + fc2),
      module("norm", "encoder.ln"),
      module("head", "heads.head"),
  };
  return layout;
}

// ViTForImageClassification; with the body "" ViTModel.
Layout transformers_vit(const std::string& name, const std::string& body) {
  const std::string block = body + "encoder.layer.#.";
  Layout layout;
  layout.name = name;
  layout.rows = {
      tensor("cls_token", body + "embeddings.cls_token"),
      tensor("pos_embed", body + "embeddings.position_embeddings"),
      module("patch_embed.proj", body + "embeddings.patch_embeddings.projection"),
      module("blocks.#.norm1", block + "layernorm_before"),
      apart(block, "attention.attention.query", "attention.attention.key", "attention.attention.value"),
      module("blocks.#.attn.proj", block + "attention.output.dense"),
      module("blocks.#.norm2", block + "layernorm_after"),
      module("blocks.#.mlp.fc1", block + "intermediate.dense"),
      module("blocks.#.mlp.fc2", block + "output.dense"),
      module("norm", body + "layernorm"),
      module("head", "classifier"),
  };
  layout.ignored = {body + "pooler."};
  return layout;
}

// Dinov2Model and Dinov2WithRegistersModel.
Layout transformers_dinov2(const std::string& name, const std::string& body) {
  const std::string block = body + "encoder.layer.#.";
  Layout layout;
  layout.name = name;
  layout.rows = {
      tensor("cls_token", body + "embeddings.cls_token"),
      tensor("reg_token", body + "embeddings.register_tokens"),
      tensor("pos_embed", body + "embeddings.position_embeddings"),
      module("patch_embed.proj", body + "embeddings.patch_embeddings.projection"),
      module("blocks.#.norm1", block + "norm1"),
      apart(block, "attention.attention.query", "attention.attention.key", "attention.attention.value"),
      module("blocks.#.attn.proj", block + "attention.output.dense"),
      tensor("blocks.#.ls1.gamma", block + "layer_scale1.lambda1"),
      module("blocks.#.norm2", block + "norm2"),
      module("blocks.#.mlp.fc1", block + "mlp.fc1"),
      module("blocks.#.mlp.fc2", block + "mlp.fc2"),
      tensor("blocks.#.ls2.gamma", block + "layer_scale2.lambda1"),
      module("norm", body + "layernorm"),
      module("head", "classifier"),
  };
  layout.ignored = {body + "embeddings.mask_token"};
  return layout;
}

// CLIPVisionModelWithProjection.
Layout transformers_clip() {
  const std::string block = "vision_model.encoder.layers.#.";
  Layout layout;
  layout.name = "transformers-clip";
  layout.rows = {
      tensor("cls_token", "vision_model.embeddings.class_embedding", Shape::vector),
      tensor("pos_embed", "vision_model.embeddings.position_embedding.weight", Shape::matrix),
      module("patch_embed.proj", "vision_model.embeddings.patch_embedding"),
      module("norm_pre", "vision_model.pre_layrnorm"),
      module("blocks.#.norm1", block + "layer_norm1"),
      apart(block, "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
      module("blocks.#.attn.proj", block + "self_attn.out_proj"),
      module("blocks.#.norm2", block + "layer_norm2"),
      module("blocks.#.mlp.fc1", block + "mlp.fc1"),
      module("blocks.#.mlp.fc2", block + "mlp.fc2"),
      module("norm", "vision_model.post_layernorm"),
      tensor("head.weight", "visual_projection.weight"),
  };
  layout.ignored = {"vision_model.embeddings.position_ids", "text_model.", "text_projection.", "logit_scale"};
  layout.head_has_no_bias = true;
  return layout;
}

// The visual tower of OpenCLIP and of OpenAI's CLIP.
Layout openclip() {
  const std::string block = "transformer.resblocks.#.";
  Layout layout;
  layout.name = "openclip";
  layout.rows = {
      tensor("cls_token", "class_embedding", Shape::vector),
      tensor("pos_embed", "positional_embedding", Shape::matrix),
      module("patch_embed.proj", "conv1"),
      module("norm_pre", "ln_pre"),
      module("blocks.#.norm1", block + "ln_1"),
      tensor("blocks.#.attn.qkv.weight", block + "attn.in_proj_weight"),
      tensor("blocks.#.attn.qkv.bias", block + "attn.in_proj_bias"),
      module("blocks.#.attn.proj", block + "attn.out_proj"),
      module("blocks.#.norm2", block + "ln_2"),
      module("blocks.#.mlp.fc1", block + "mlp.c_fc"),
      module("blocks.#.mlp.fc2", block + "mlp.c_proj"),
      module("norm", "ln_post"),
      tensor("head.weight", "proj", Shape::transposed),
  };
  layout.head_has_no_bias = true;
  return layout;
}

// BlipVisionModel, which classifies nothing: the head keeps our name.
Layout transformers_blip() {
  const std::string block = "encoder.layers.#.";
  Layout layout;
  layout.name = "transformers-blip";
  layout.rows = {
      tensor("cls_token", "embeddings.class_embedding"),
      tensor("pos_embed", "embeddings.position_embedding"),
      module("patch_embed.proj", "embeddings.patch_embedding"),
      module("blocks.#.norm1", block + "layer_norm1"),
      module("blocks.#.attn.qkv", block + "self_attn.qkv"),
      module("blocks.#.attn.proj", block + "self_attn.projection"),
      module("blocks.#.norm2", block + "layer_norm2"),
      module("blocks.#.mlp.fc1", block + "mlp.fc1"),
      module("blocks.#.mlp.fc2", block + "mlp.fc2"),
      module("norm", "post_layernorm"),
      module("head", "head"),
  };
  return layout;
}

}  // namespace

const LayoutFamily& vit_layouts() {
  static const LayoutFamily family = {
      "ViT",
      "patch_embed.proj",
      "head",
      {timm(), timm_registers(), dinov2(), torchvision("torchvision", "mlp.0", "mlp.3"),
       torchvision("torchvision-0.11", "mlp.linear_1", "mlp.linear_2"),
       transformers_vit("transformers", "vit."), transformers_vit("transformers-body", ""),
       transformers_dinov2("transformers-dinov2", "dinov2."),
       transformers_dinov2("transformers-dinov2-body", ""),
       transformers_dinov2("transformers-dinov2-registers", "dinov2_with_registers."), transformers_clip(),
       openclip(), transformers_blip()}};
  return family;
}

}  // namespace mcci
