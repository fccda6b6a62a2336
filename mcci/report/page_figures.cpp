#include "mcci/report/page_figures.hpp"

#include <algorithm>

#include "mcci/report/chart.hpp"
#include "mcci/report/format.hpp"
#include "mcci/report/markup.hpp"

namespace mcci::report {
namespace {

// Up to this side an image is shown pixel by pixel; larger ones are smoothed by the browser.
constexpr std::int64_t pixelated_side = 128;
constexpr std::size_t max_suspects = 60;
constexpr std::size_t max_open_curves = 6;

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

std::string legend(const std::vector<std::pair<std::string, std::string>>& styles_and_names) {
  std::string content = "<ul class=\"legend\">";
  for (const auto& [style, name] : styles_and_names) content += "<li>" + legend_key(style) + name + "</li>";
  return content + "</ul>\n";
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
  std::string content;
  for (const Example& example : result.examples) content += example_item(example, folder);
  if (content.empty()) return "";
  return section(
      "What the models say",
      captioned("Predictions for single test images and their probabilities: <span class=\"meant\">✓"
                "</span> the image’s own class, <span class=\"wanted\">▲</span> the class the "
                "attacker wants.",
                "<ul class=\"examples\">\n" + content + "</ul>\n"));
}

std::string histogram_section(const Result& result) {
  std::string content;
  for (const Histogram& histogram : result.histograms) {
    std::vector<std::pair<std::string, std::string>> groups;
    for (std::size_t i = 0; i < histogram.series.size(); ++i) {
      const HistogramSeries& series = histogram.series[i];
      groups.emplace_back(group_style(i), html(series.name) + ", n = " + with_separators(total(series)));
    }
    content += "<figure class=\"histogram\"><figcaption><b>" + html(histogram.title) + "</b></figcaption>" +
               histogram_chart(histogram) + "<p class=\"axis-name\">" + html(histogram.x_label) + "</p>\n" +
               legend(groups) + "</figure>\n";
  }
  if (content.empty()) return "";
  return section(
      "Suspicion of training images",
      captioned("How the training images are distributed; each group is drawn as shares of its own "
                "size.",
                "<div class=\"figures\">\n" + content + "</div>\n"));
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

std::string training_section(const std::vector<Row>& rows) {
  std::string open, closed;
  std::size_t drawn = 0;
  for (const Row& row : rows) {
    const std::string charts = accuracy_chart(row) + loss_chart(row);
    if (charts.empty()) continue;
    std::string& place = drawn++ < max_open_curves ? open : closed;
    place += "<figure class=\"curves\"><figcaption><b>" + row_title(rows, row) + "</b>, seed " + row.seeds() +
             phase_list(row) + "</figcaption><div class=\"figures\">\n" + charts + "</div></figure>\n";
  }
  if (open.empty()) return "";
  if (!closed.empty()) closed = folded(plural(drawn - max_open_curves, "more training"), closed);
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
              open + closed));
}

}  // namespace mcci::report
