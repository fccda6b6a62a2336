#include "mcci/suite/audit.hpp"

#include <iostream>

#include <ATen/ATen.h>

#include "mcci/cli/arguments.hpp"
#include "mcci/report/report.hpp"
#include "mcci/suite/figures.hpp"

namespace mcci {
namespace {

constexpr std::int64_t thumbnail_count = 48;

struct AuditFlags {
  std::string run;
  std::string out;
  std::string manifest;
};

std::string share(const Json& value) { return value.is_null() ? "-" : value.dump(); }

void run(const AuditFlags& options, const ComputeOptions& compute) {
  TrainedRun trained = open_run(options.run, compute);
  std::unique_ptr<Manifest> truth;
  if (!options.manifest.empty()) truth = std::make_unique<Manifest>(read_manifest(options.manifest));
  const DatasetPtr data = trained.training_set();
  const Audit found = audit(trained.model(), data, trained.compute);
  const std::filesystem::path csv =
      options.out.empty() ? trained.files.folder / "audit.csv" : std::filesystem::path(options.out);
  write_audit_csv(csv, found, *data);
  std::cout << found.suspicion.ge(found.threshold).sum().item<std::int64_t>() << " of " << data->size()
            << " training images are suspicious (suspicion >= " << found.threshold << ")\n";

  Json& cell = trained.result["cells"].at(0);
  if (truth != nullptr) {
    add_to_cell(cell, found, *truth);
    std::cout << "against the manifest: AUROC " << share(cell["auroc"]) << ", precision "
              << share(cell["detection"]["precision"]) << ", recall " << share(cell["detection"]["recall"])
              << "\n";
  }
  Figures figures(trained.files.folder);
  figures.add_audit(found, data, truth.get(), thumbnail_count);
  trained.result["figures"] = figures.json();
  write_json(trained.files.result(), trained.result);
  write_report(trained.files.result(), trained.files.report());
  std::cout << "list:   " << csv.string() << "\nreport: " << trained.files.report().string() << "\n";
}

}  // namespace

void add_audit(CLI::App& program, const Arguments& /*arguments*/) {
  CLI::App* command = program.add_subcommand("audit", "rank the training images of a run by suspicion");
  command->footer(
      "Example: mcci audit runs/photos\nWrites audit.csv (path,label,suspicion,suggested_label) and the "
      "report with thumbnails.");
  const auto options = std::make_shared<AuditFlags>();
  command->add_option("run", options->run, "folder of a finished run")->required()->type_name("");
  command->add_option("--out", options->out, "CSV file (default: audit.csv in the run's folder)")
      ->type_name("");
  command->add_option("--manifest", options->manifest, "the truth, to also get AUROC, precision and recall")
      ->type_name("");
  const auto compute = add_compute_flags(*command);
  command->allow_extras();
  command->callback([command, options, compute] {
    refuse_unknown(*command);
    compute->assign();
    run(*options, compute->compute);
  });
}

}  // namespace mcci
