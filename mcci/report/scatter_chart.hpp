#pragma once

#include <string>

#include "mcci/report/result.hpp"

// Embeddings in the plane. Groups whose name begins with "poisoned" or "triggered" are crosses drawn above
// the others, which are dots; so the two differ without colour, too.
namespace mcci::report {

// One panel; both axes, and all panels of the embedding, are to one scale. Its numbers mean nothing, so it
// has no ticks. Empty if the panel is.
std::string scatter_chart(const Embedding& embedding, const EmbeddingPanel& panel);

std::string scatter_key(const Embedding& embedding, std::size_t group);  // for legends

}  // namespace mcci::report
