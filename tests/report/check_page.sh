#!/bin/sh
# check_page.sh RENDER_PAGE RESULT.json CHECK.js
# Renders the report and opens it in headless Chromium, as on a desktop and on a phone of 360 px: no console errors, all
# figures drawn, all images decoded, no sideways scrolling. CHECK.js defines check(need, all) with what this very page
# must hold and do; it runs before everything is unfolded. Exit 77: skipped.
set -eu
render_page=$1
result=$2
own_check=$3

chromium=$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)
if [ -z "$chromium" ]; then
  echo "skipped: there is no chromium, chromium-browser or google-chrome on PATH"
  exit 77
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$render_page" "$result" "$work/report.html"

fail() {
  echo "FAILED: $1"
  exit 1
}

# Everything is in the one file: nothing in it names another.
if grep -Eq '<(link|iframe|object|embed|base)|src="[^d]|url\(|@import|href=' "$work/report.html"; then
  fail "the page refers to something outside itself"
fi

# A copy that checks itself and says so on the console.
cat > "$work/check.js" <<'SCRIPT'
addEventListener("load", () => {
  const problems = [];
  const need = (truth, problem) => { if (!truth) problems.push(problem); };
  const all = (selector) => [...document.querySelectorAll(selector)];
  try { check(need, all); } catch (error) { problems.push("the check itself: " + error); }
  for (const details of all("details")) details.open = true;
  for (const choice of all(".choice")) choice.classList.remove("off");

  for (const img of all("img")) {
    need(img.complete && img.naturalWidth > 0, "an image did not decode: " + img.alt);
    need(img.alt.length > 0, "an image has no alt text");
    need(getComputedStyle(img).imageRendering === "pixelated", "a small image is smoothed");
  }
  for (const chart of all("svg.chart")) {
    const label = chart.getAttribute("aria-label");
    need(label.length > 0, "a chart has no description");
    const drawn = [...chart.querySelectorAll("path.line, path.area, path.bar, path.specks, path.crosses")];
    need(drawn.length > 0, "a chart is empty: " + label);
    need(drawn.every((path) => { const box = path.getBBox(); return box.x > 0 && box.width < 400 && box.height < 300; }),
         "a chart draws outside itself: " + label);
    const frame = chart.getBoundingClientRect();
    need(frame.width > 200 && frame.height > 80, "a chart has no size: " + label);
    // In pixels of the page: legible, and inside the window.
    for (const text of chart.querySelectorAll("text")) {
      const box = text.getBoundingClientRect();
      need(box.height >= 10, "a chart's text is too small: " + text.textContent);
      need(box.left >= 0 && box.right <= innerWidth, "a chart's text is cut off: " + text.textContent);
    }
  }
  need(all("thead th").every((th) => th.scope === "col"), "a column heading has no scope");
  need(document.documentElement.scrollWidth <= innerWidth, "the page scrolls sideways");
  need(!document.querySelector("main script"), "a text of the result became a script");
  for (const problem of problems) console.error("PROBLEM " + problem);
  console.log("CHECKED at " + innerWidth + " px");
});
SCRIPT
{ sed '/<\/body>/,$d' "$work/report.html"
  echo "<script>"; cat "$own_check" "$work/check.js"; echo "</script></body></html>"; } > "$work/checked.html"
cat > "$work/frames.html" <<'HTML'
<!DOCTYPE html><iframe src="checked.html" width="1200" height="3000"></iframe>
<iframe src="checked.html" width="360" height="3000"></iframe>
HTML

"$chromium" --headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --user-data-dir="$work/profile" \
  --virtual-time-budget=5000 --enable-logging=stderr --dump-dom "file://$work/frames.html" \
  > "$work/dom.html" 2> "$work/log" || fail "the browser ended with an error: $(tail -3 "$work/log")"

grep CONSOLE "$work/log" > "$work/console" || true
if grep -v 'CHECKED at' "$work/console"; then fail "the console is not empty"; fi
for width in 1200 360; do
  grep -q "CHECKED at $width px" "$work/console" || fail "the page was not checked at $width px"
done
echo "the page is in order at 1200 and at 360 px"
