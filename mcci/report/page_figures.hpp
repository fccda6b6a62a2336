#pragma once

#include <string>
#include <vector>

#include "mcci/report/image.hpp"
#include "mcci/report/summary.hpp"

// The page's figures, each empty when the result has nothing for it. Errors: those of ImageFolder::load.
namespace mcci::report {

std::string trigger_section(const Result& result, ImageFolder& folder);
std::string example_section(const Result& result, ImageFolder& folder);
std::string histogram_section(const Result& result);
std::string suspect_section(const Result& result, ImageFolder& folder);
std::string embedding_section(const Result& result);
std::string training_section(const std::vector<Row>& rows);

}  // namespace mcci::report
