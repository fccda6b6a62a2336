#include "mcci/suite/export.hpp"

#include <iostream>

#include "mcci/cli/arguments.hpp"

namespace mcci {

void add_export(CLI::App& program, const Arguments& /*arguments*/) {
  CLI::App* command =
      program.add_subcommand("export", "write the clean model as a plain backbone: weights, or a program");
  command->footer(
      "Example: mcci export runs/photos --out model.onnx --format onnx\nBeside it model.json: classes, "
      "mean/std, "
      "input size, provenance; TorchScript and ONNX hold it too, as mcci.json.");
  const auto run = std::make_shared<std::string>();
  const auto out = std::make_shared<std::string>();
  const auto format = std::make_shared<std::string>("safetensors");
  const auto layout = std::make_shared<std::string>(original_layout);
  const auto reference = std::make_shared<bool>(false);
  command->add_option("run", *run, "folder of a finished run")->required()->type_name("");
  command->add_option("--out", *out, "file to be made")->required()->type_name("");
  std::string formats;
  for (const auto& entry : export_formats().entries())
    formats += (formats.empty() ? "" : "; ") + entry.name + ": " + entry.description;
  command->add_option("--format", *format, formats)
      ->check(CLI::IsMember(export_formats().names()))
      ->type_name("")
      ->capture_default_str();
  command
      ->add_option("--layout", *layout,
                   "how weights are named: original: as in the file that --weights named, under its prefix; "
                   "mcci: as mcci does (torchvision's names of ResNets, timm's of all others); or timm, "
                   "torchvision, transformers, openclip, ... (docs/backbones.md)")
      ->type_name("")
      ->capture_default_str();
  command->add_flag("--reference", *reference,
                    "also write a few inputs and their logits, to check a reader against");
  command->allow_extras();
  command->callback([=] {
    refuse_unknown(*command);
    export_run(open_run(*run), *out, *format, *reference, *layout);
    std::cout << *out << "\n";
  });
}

}  // namespace mcci
