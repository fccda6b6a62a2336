// The page of tests/fixtures/report/result.json: a few trainings with all kinds of figures.
function check(need, all) {
  for (const section of ["Results", "Poisoned training images found", "What the trigger looks like",
                         "What the models say", "Suspicion of training images", "Most suspicious training images",
                         "Training", "Cost"]) {
    need(all("h2").some((h2) => h2.textContent === section), "no section " + section);
  }
  need(all("img").length === 9, all("img").length + " images instead of 9");
  need(all("svg.chart").length === 11, all("svg.chart").length + " charts instead of 11");
  need(all("table.results svg.strip").length === 4, "not every row of results has its strip");

  const table = document.querySelector("table.results");
  const heads = [...table.tHead.rows[0].cells];
  const column = heads.findIndex((th) => th.textContent === "AUROC");
  const values = () => [...table.tBodies[0].rows].map((row) => row.cells[column].dataset.value);
  for (const [direction, sign] of [["descending", -1], ["ascending", 1]]) {
    heads[column].querySelector("button").click();
    const sorted = values();
    const numbers = sorted.filter((value) => value !== "").map(Number);
    need(heads[column].getAttribute("aria-sort") === direction, "no aria-sort " + direction);
    need(numbers.length === 2 && sign * (numbers[1] - numbers[0]) >= 0, "not sorted " + direction);
    need(sorted.slice(2).every((value) => value === ""), "undefined figures are not last");
  }
}
