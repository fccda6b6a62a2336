// render_page RESULT.json PAGE.html, for check_page.sh.
#include <iostream>

#include "mcci/core/error.hpp"
#include "mcci/report/report.hpp"

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: render_page RESULT.json PAGE.html\n";
    return 2;
  }
  try {
    mcci::write_report(argv[1], argv[2]);
  } catch (const mcci::Error& error) {
    std::cerr << error.what() << "\n";
    return error.exit_code();
  }
  return 0;
}
