#include "mcci/report/page_figures.hpp"

#include <algorithm>

#include "mcci/report/chart.hpp"
#include "mcci/report/format.hpp"
#include "mcci/report/markup.hpp"
#include "mcci/report/scatter_chart.hpp"

namespace mcci::report {
namespace {

// Up to this side an image is shown pixel by pixel; larger ones are smoothed by the browser.
constexpr std::int64_t pixelated_side = 128;
constexpr std::size_t max_suspects = 60;
constexpr std::size_t max_open_curves = 6, max_open_examples = 12, max_open_histograms = 6;
constexpr std::size_t max_open_embeddings = 3;

std::string image_tag(ImageFolder& folder, const std::string& path, const std::string& description_text) {
  const Image image = folder.load(path);
  const bool small = std::max(image.width, image.height) <= pixelated_side;
  return "<img" + std::string(small ? " class=\"pixels\"" : "") + " width=\"" + std::to_string(image.width) +
         "\" height=\"" + std::to_string(image.height) + "\" alt=\"" + html(description_text) + "\" src=\"" +
         image.data_uri + "\">";
}

// The figure's numbered caption, then its content.
std::string captioned(const std::string& caption, const std::string& content) {
  return "<p class=\"caption\">" + caption + "</p>\n" + content;
}

std::string prediction_row(const Example& example, const Prediction& prediction) {
  std::string style, sign;
  if (prediction.predicted_class == example.true_class) {
    style = "meant";
    sign = "✓ ";
  } else if (prediction.predicted_class == example.attack_class) {
    style = "wanted";
    sign = "▲ ";
  }
  return "<tr><th scope=\"row\">" + html(prediction.by) + "</th><td class=\"" + style + "\">" + sign +
         html(prediction.predicted_class) + "</td><td class=\"number\">" +
         fixed(100 * prediction.probability, 1) + " %</td></tr>\n";
}

std::string example_item(const Example& example, ImageFolder& folder) {
  const bool triggered = !example.attack_class.empty();
  const std::string kind = triggered ? "triggered" : "clean";
  std::string item =
      "<li>" + image_tag(folder, example.image, kind + " test image of class " + example.true_class) +
      "<div><p><b>" + html(example.true_class) + "</b>, " +
      (triggered ? "with a trigger for <b>" + html(example.attack_class) + "</b>" : "without a trigger") +
      "</p>\n<table class=\"predictions\"><thead class=\"hidden\"><tr><th scope=\"col\">predicted by</th>"
      "<th scope=\"col\">class</th><th scope=\"col\">probability</th></tr></thead><tbody>\n";
  for (const Prediction& prediction : example.predictions) item += prediction_row(example, prediction);
  return item + "</tbody></table></div></li>\n";
}

std::string suspect_item(const Suspect& suspect, ImageFolder& folder) {
  std::string item = "<li>" + image_tag(folder, suspect.image, "training image labelled " + suspect.label) +
                     html(suspect.label);
  if (!suspect.suggested_label.empty()) item += " → <b>" + html(suspect.suggested_label) + "</b>";
  item += "<small>suspicion " + fixed(suspect.suspicion, 3) + "</small>";
  if (suspect.poisoned) {
    item += *suspect.poisoned ? "<small class=\"wanted\">▲ poisoned</small>"
                              : "<small class=\"meant\">✓ clean, a false alarm</small>";
  }
  const std::string file = suspect.path.substr(suspect.path.find_last_of('/') + 1);
  if (!file.empty()) item += "<small title=\"" + html(suspect.path) + "\">" + html(file) + "</small>";
  return item + "</li>\n";
}

std::string legend(const std::vector<std::pair<std::string, std::string>>& styles_and_names) {
  std::string content = "<ul class=\"legend\">";
  for (const auto& [style, name] : styles_and_names) content += "<li>" + legend_key(style) + name + "</li>";
  return content + "</ul>\n";
}

std::string histogram_figure(const Histogram& histogram) {
  std::vector<std::pair<std::string, std::string>> groups;
  for (std::size_t i = 0; i < histogram.series.size(); ++i) {
    const HistogramSeries& series = histogram.series[i];
    groups.emplace_back(group_style(i), html(series.name) + ", n = " + with_separators(total(series)));
  }
  return "<figure class=\"histogram\"><figcaption><b>" + html(histogram.title) + "</b></figcaption>" +
         histogram_chart(histogram) + "<p class=\"axis-name\">" + html(histogram.x_label) + "</p>\n" +
         legend(groups) + "</figure>\n";
}

std::string phase_list(const Row& row) {
  const std::vector<Phase> found = phases(row.first().history);
  if (found.size() < 2) return "";
  std::string list;
  for (std::size_t i = 0; i < found.size(); ++i) {
    const std::string first = std::to_string(found[i].first), last = std::to_string(found[i].last);
    list += (i == 0 ? "" : "; ") + std::to_string(i + 1) + " " + html(found[i].name) +
            (first == last ? " (epoch " + first : " (epochs " + first + "–" + last) + ")";
  }
  return "<br><small>Phases: " + list + "</small>";
}

// One fold an attack, and in it one a training.
std::string folded_by_attack(const std::vector<std::string>& attacks, const std::vector<std::string>& titles,
                             const std::vector<std::string>& figures) {
  std::vector<std::string> names = attacks;
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  std::string content;
  for (const std::string& name : names) {
    std::string trainings;
    std::size_t count = 0;
    for (std::size_t i = 0; i < figures.size(); ++i) {
      if (attacks[i] != name) continue;
      ++count;
      trainings += folded(titles[i], "<figure class=\"curves\"><figcaption>" + figures[i]);
    }
    content += folded(html(name) + ": " + plural(count, "training"), trainings);
  }
  return "<div class=\"many\">\n" + content + "</div>\n";
}

}  // namespace

std::string trigger_section(const Result& result, ImageFolder& folder) {
  std::string content;
  for (const Trigger& trigger : result.triggers) {
    const auto panel = [&](const std::string& path, const std::string& name) {
      return "<div>" + image_tag(folder, path, trigger.attack + ": " + name) + name + "</div>";
    };
    content += "<figure><figcaption><b>" + html(trigger.attack) + "</b></figcaption><div class=\"panels\">" +
               panel(trigger.clean, "clean image") + panel(trigger.triggered, "triggered image") +
               panel(trigger.difference, "difference, amplified") +
               panel(trigger.spectrum_difference, "difference of spectra") + "</div></figure>\n";
  }
  if (content.empty()) return "";
  return section(
      "What the trigger looks like",
      captioned("What an attack changes in an image, and where that shows in the spectrum (DCT, log "
                "magnitude, lowest frequencies top left). Both differences are scaled to the full "
                "range.",
                "<div class=\"triggers\">\n" + content + "</div>\n"));
}

std::string example_section(const Result& result, ImageFolder& folder) {
  if (result.examples.empty()) return "";
  const auto list = [&](std::size_t from, std::size_t to) {
    std::string items;
    for (std::size_t i = from; i < to; ++i) items += example_item(result.examples[i], folder);
    return "<ul class=\"examples\">\n" + items + "</ul>\n";
  };
  const std::size_t count = result.examples.size(), open = std::min(count, max_open_examples);
  std::string content = list(0, open);
  if (open < count) content += folded(plural(count - open, "more image"), list(open, count));
  return section(
      "What the models say",
      captioned("Predictions for single test images and their probabilities: <span class=\"meant\">✓"
                "</span> the image’s own class, <span class=\"wanted\">▲</span> the class the "
                "attacker wants.",
                content));
}

std::string histogram_section(const Result& result) {
  if (result.histograms.empty()) return "";
  const auto figures = [&](std::size_t from, std::size_t to) {
    std::string content;
    for (std::size_t i = from; i < to; ++i) content += histogram_figure(result.histograms[i]);
    return "<div class=\"figures\">\n" + content + "</div>\n";
  };
  const std::size_t count = result.histograms.size(), open = std::min(count, max_open_histograms);
  std::string content = figures(0, open);
  if (open < count) content += folded(plural(count - open, "more histogram"), figures(open, count));
  return section(
      "Suspicion of training images",
      captioned("How the training images are distributed; each group is drawn as shares of its own size.",
                content));
}

std::string suspect_section(const Result& result, ImageFolder& folder) {
  if (result.suspects.empty()) return "";
  const std::size_t shown = std::min(result.suspects.size(), max_suspects);
  std::string content;
  for (std::size_t i = 0; i < shown; ++i) content += suspect_item(result.suspects[i], folder);
  std::string caption = "Recorded label → the label the clean model suggests, and the suspicion.";
  if (shown < result.suspects.size()) {
    caption += " The first " + std::to_string(shown) + " of " + plural(result.suspects.size(), "image") + ".";
  }
  return section("Most suspicious training images",
                 captioned(caption, "<ul class=\"suspects\">\n" + content + "</ul>\n"));
}

std::string embedding_section(const Result& result) {
  std::string content;
  const bool many = result.embeddings.size() > max_open_embeddings;
  for (const Embedding& embedding : result.embeddings) {
    std::string panels;
    for (const EmbeddingPanel& panel : embedding.panels) {
      const std::string chart = scatter_chart(embedding, panel);
      if (chart.empty()) continue;
      panels += "<figure><figcaption>" + html(panel.name) + "</figcaption>" + chart + "</figure>\n";
    }
    if (panels.empty()) continue;
    std::string legend = "<ul class=\"legend\">";
    for (std::size_t group = 0; group < embedding.groups.size(); ++group) {
      legend += "<li>" + scatter_key(embedding, group) + html(embedding.groups[group]) + "</li>";
    }
    legend += "</ul>\n";
    std::string method = embedding.method == "pca" ? "PCA" : html(embedding.method);
    if (!embedding.explained.empty()) {
      method += ", the axes explain " + share_text(embedding.explained[0]) + " and " +
                share_text(embedding.explained[1]) + " of the variance";
    }
    const std::string drawn = legend + "<div class=\"multiples\">\n" + panels +
                              "</div>\n<p class=\"small muted\">" + method + ".</p>\n";
    content +=
        many ? choice(embedding.title, drawn)
             : "<figure class=\"embedding\"><h3>" + html(embedding.title) + "</h3>\n" + drawn + "</figure>\n";
  }
  if (content.empty()) return "";
  return section(
      "Embeddings",
      captioned("Feature vectors of single samples projected to the plane; clean samples are dots, "
                "poisoned ones crosses. The panels of a training share one plane and one scale.",
                many ? choices("training", content) : content));
}

std::string training_section(const std::vector<Row>& rows) {
  std::vector<std::string> figures, titles, attacks;
  for (const Row& row : rows) {
    const std::string charts = accuracy_chart(row) + loss_chart(row);
    if (charts.empty()) continue;
    titles.push_back("<b>" + row_title(rows, row) + "</b>, seed " + row.seeds());
    attacks.push_back(row.first().attack);
    figures.push_back(phase_list(row) + "</figcaption><div class=\"figures\">\n" + charts +
                      "</div></figure>\n");
  }
  if (figures.empty()) return "";
  std::string content;
  if (figures.size() <= max_open_curves) {
    for (std::size_t i = 0; i < figures.size(); ++i) {
      content += "<figure class=\"curves\"><figcaption>" + titles[i] + figures[i];
    }
  } else {
    content = folded_by_attack(attacks, titles, figures);
  }
  return section(
      "Training",
      captioned(
          "Each training by epoch, one line a seed. Training accuracy and loss count the recorded labels; "
          "a loss can be compared within its phase only. At the lines’ ends stand the last values.",
          legend({{"train", "training accuracy"},
                  {"ca", "CA"},
                  {"pa", "PA"},
                  {"asr", "ASR"},
                  {"loss", "training loss"}}) +
              content));
}

}  // namespace mcci::report
