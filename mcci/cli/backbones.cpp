#include <iomanip>
#include <iostream>
#include <map>
#include <sstream>

#include "mcci/cli/arguments.hpp"
#include "mcci/nn/backbone.hpp"

namespace mcci {
namespace {

std::string three(const std::array<double, 3>& values) {
  std::ostringstream text;
  text << std::setprecision(3) << values[0] << " " << values[1] << " " << values[2];
  return text.str();
}

void list_backbones() {
  std::map<std::string, const LayoutFamily*> families;
  for (const auto& entry : backbones().entries()) {
    const InputConvention& input = entry.value.input;
    families[entry.value.layouts->name] = entry.value.layouts;
    std::cout << entry.name << ": " << entry.description << "\n  " << entry.value.layouts->name << ", "
              << input.size << " pixels, " << input.interpolation << ", mean " << three(input.mean)
              << ", std " << three(input.std) << "\n";
  }
  std::cout << "\nLayouts of weights that are read and written:\n";
  for (const auto& [name, family] : families) {
    std::cout << "  " << name << ":";
    for (const Layout& layout : family->layouts) std::cout << " " << layout.name;
    std::cout << "\n";
  }
  std::cout
      << "\nSize, interpolation, mean and std are those of the published weights; --normalise applies the "
         "last two.\n";
}

}  // namespace

void add_backbones(CLI::App& program, const Arguments& /*arguments*/) {
  CLI::App* command = program.add_subcommand("backbones", "list the networks that can be trained");
  command->footer("Example: mcci backbones");
  command->allow_extras();
  command->callback([=] {
    refuse_unknown(*command);
    list_backbones();
  });
}

}  // namespace mcci
