#include <iostream>
#include <ostream>

#include <ATen/ATen.h>

#include "mcci/cli/arguments.hpp"
#include "mcci/core/files.hpp"
#include "mcci/data/loader.hpp"
#include "mcci/suite/audit.hpp"
#include "mcci/suite/evaluation.hpp"
#include "mcci/suite/result.hpp"

namespace mcci {
namespace {

constexpr std::int64_t batch_images = 256;

struct Predict {
  std::string run;
  std::vector<std::string> images;
  std::string format = "csv";
  std::string perception = "clean";
  std::string out;
};

Json predict(const TrainedRun& trained, const DatasetPtr& data, Perception perception) {
  Json rows = Json::array();
  Defense& model = trained.model();
  for_each_batch(data, batch_images, [&](const Batch& batch) {
    const at::Tensor images = place(batch.images, trained.compute);
    const auto [probability, predicted] = model.logits(images, perception).softmax(1).cpu().max(1);
    at::Tensor suspicion;
    if (model.has_suspicion()) {
      // There is no recorded label: what the model says when it is shown the image's own indicator stands for
      // it.
      const at::Tensor own = model.logits(images, Perception::own).argmax(1);
      suspicion = model.suspicion(images, own).cpu();
    }
    for (std::int64_t i = 0; i < batch.indices.size(0); ++i) {
      rows.push_back(
          {{"path", data->name(batch.indices[i].item<std::int64_t>())},
           {"class", trained.classes[static_cast<std::size_t>(predicted[i].item<std::int64_t>())]},
           {"probability", number(probability[i].item<double>())},
           {"suspicion", suspicion.defined() ? number(suspicion[i].item<double>()) : Json(nullptr)}});
    }
  });
  return rows;
}

void write(std::ostream& out, const Json& rows, const std::string& format) {
  if (format == "json") {
    out << rows.dump(2) << "\n";
    return;
  }
  out << "path,class,probability,suspicion\n";
  for (const Json& row : rows) {
    out << csv_field(row["path"].get<std::string>()) << ',' << csv_field(row["class"].get<std::string>())
        << ',' << row["probability"].dump() << ','
        << (row["suspicion"].is_null() ? "" : row["suspicion"].dump()) << '\n';
  }
}

void run(const Predict& options, const ComputeOptions& compute) {
  const TrainedRun trained = open_run(options.run, compute);
  DatasetOptions how = trained.config->dataset;
  const std::vector<std::filesystem::path> paths(options.images.begin(), options.images.end());
  const DatasetPtr data = open_images(paths, trained.shape, trained.classes, how);
  const Json rows = predict(trained, data, perception_of(options.perception));
  if (options.out.empty()) {
    write(std::cout, rows, options.format);
  } else {
    write_file_atomically(options.out, [&](std::ostream& out) { write(out, rows, options.format); });
  }
}

}  // namespace

void add_predict(CLI::App& program, const Arguments& /*arguments*/) {
  CLI::App* command = program.add_subcommand("predict", "class, probability and suspicion of images");
  command->footer("Example: mcci predict runs/photos new-photos/ one.jpg --format csv > predictions.csv");
  const auto options = std::make_shared<Predict>();
  command->add_option("run", options->run, "folder of a finished run")->required()->type_name("");
  command->add_option("images", options->images, "image files, and folders of images")
      ->required()
      ->type_name("");
  command->add_option("--format", options->format, "csv or json")
      ->check(CLI::IsMember({"csv", "json"}))
      ->type_name("")
      ->capture_default_str();
  command->add_option("--out", options->out, "file to write instead of standard output")->type_name("");
  add_perception(*command, options->perception);
  const auto compute = add_compute_flags(*command);
  command->callback([options, compute] {
    compute->assign();
    run(*options, compute->compute);
  });
}

}  // namespace mcci
