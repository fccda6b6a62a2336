#include <iostream>

#include <CLI/CLI.hpp>
#include <c10/util/Exception.h>

#include "mcci/cli/arguments.hpp"
#include "mcci/core/error.hpp"
#include "mcci/core/interrupt.hpp"
#include "mcci/core/log.hpp"
#include "mcci/core/version.hpp"

namespace {

int fail(const std::string& message, int code) {
  std::cerr << "mcci: error: " << message << "\n";
  return code;
}

void refuse_unknown_command(const CLI::App& program, const mcci::Arguments& arguments) {
  std::vector<std::string> known;
  for (const CLI::App* command : program.get_subcommands({})) {
    if (arguments.is_command(command->get_name())) return;
    if (!command->get_group().empty()) known.push_back(command->get_name());
  }
  const std::string given = arguments.command();
  if (given.empty()) return;  // flags only, or nothing: CLI11 says what is missing
  throw mcci::Error(mcci::ErrorKind::usage, "there is no command '" + given + "'", "",
                    "use " + mcci::candidates(given, known) + "; see mcci --help");
}

}  // namespace

int main(int argc, char** argv) {
  using mcci::ErrorKind;
  const mcci::Arguments arguments{{argv + 1, argv + argc}};
  try {
    CLI::App program(
        "mcci trains clean image classifiers from data sets that may be poisoned, and tells which images "
        "were.\n"
        "It implements Mind Control through Causal Inference (ICLR 2025).");
    program.name("mcci");
    program.require_subcommand(1);
    program.set_version_flag("--version", "mcci " + mcci::version());
    program.add_flag_callback(
        "--quiet", [] { mcci::set_quiet(true); }, "no progress and no information, only warnings");
    program.fallthrough();
    program.allow_extras();
    program.footer(
        "Exit codes: 0 done, 2 wrong usage, 3 bad input data, 4 file or disk error, 130 interrupted, 1 a "
        "defect of mcci.\n"
        "Every command has --help with its defaults and an example.");
    mcci::add_demo(program, arguments);
    mcci::add_poison(program, arguments);
    mcci::add_gallery(program, arguments);
    mcci::add_train(program, arguments);
    mcci::add_eval(program, arguments);
    mcci::add_predict(program, arguments);
    mcci::add_audit(program, arguments);
    mcci::add_export(program, arguments);
    mcci::add_inspect(program, arguments);
    mcci::add_report(program, arguments);
    mcci::add_bench(program, arguments);
    mcci::add_backbones(program, arguments);
    refuse_unknown_command(program, arguments);
    mcci::install_interrupt_handler();
    try {
      program.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
      if (error.get_exit_code() == 0) return program.exit(error);  // --help, --version
      return fail(std::string(error.what()) + "; see mcci --help",
                  mcci::Error(ErrorKind::usage, "").exit_code());
    }
    return 0;
  } catch (const mcci::Error& error) {
    return fail(error.what(), error.exit_code());
  } catch (const c10::Error& error) {
    return fail(error.what_without_backtrace(), 1);
  } catch (const std::exception& error) {
    return fail(error.what(), 1);
  }
}
