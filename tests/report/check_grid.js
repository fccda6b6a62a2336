// The page of tests/fixtures/report/grid.json: three attacks at three rates, three defenses, two seeds.
function check(need, all) {
  const shown = (element) => element.getClientRects().length > 0;
  for (const section of ["Attacks and defenses", "Results", "Trainings that failed", "Robustness over the poison rate",
                         "Cost", "Embeddings", "Suspicion of training images", "Training"]) {
    need(all("h2").some((h2) => h2.textContent === section), "no section " + section);
  }

  // A heat map for each figure and rate, one rate at a time.
  need(all("table.heat").length === 9, all("table.heat").length + " heat maps instead of 9");
  for (const style of ["asr", "pa", "ca"]) {
    const visible = all("table.heat." + style).filter(shown);
    need(visible.length === 1, "not one heat map of " + style + " is shown");
    need(visible[0].tBodies[0].rows.length === 3, "not a line for each attack");
  }
  const colour = (cell) => getComputedStyle(cell).backgroundColor;
  const asr = all("table.heat.asr").filter(shown)[0].tBodies[0].rows[0].cells;
  need(colour(asr[1]) !== colour(asr[3]), "heat has no colour");
  const buttons = all(".heatmaps .chooser button");
  need(buttons.length === 3 && buttons[2].getAttribute("aria-pressed") === "true", "the highest rate is not shown first");
  buttons[0].click();
  const hatched = all("table.heat.asr").filter(shown)[0].querySelectorAll(".hatched");
  need(hatched.length === 3, hatched.length + " cells that did not implant are hatched instead of 3");
  need([...hatched].every((cell) => cell.textContent.includes("†")), "a cell that did not implant has no mark");

  need(all("svg.chart.small").length === 12, "not a chart for each figure, each attack and their mean");
  need(all("svg.chart.small").filter(shown).length === 4, "not one figure over the rate at a time");
  need(all("svg.chart path.bar").length === 6, "not a bar for each defense's time and memory");
  need(all("svg.chart path.hollow").length === 9, "what did not implant is not drawn hollow");
  need(all("svg.chart.scatter").length === 16, "not every panel of the embeddings is drawn");
  need(all("svg.chart.scatter").filter(shown).length === 4, "not one embedding at a time");
  need(all("svg.chart.scatter").every((chart) => chart.querySelector(".specks") && chart.querySelector(".crosses")),
       "clean and poisoned points do not differ in shape");
  need(all(".many > details").length === 3, "curves are not folded by attack");

  // The long table is folded, and can be narrowed.
  const table = document.querySelector("table.results");
  const fold = table.closest("details");
  need(fold && !fold.open, "a long table is not folded");
  fold.open = true;
  const rows = () => [...table.tBodies[0].rows].filter(shown).length;
  need(rows() === 30, rows() + " rows instead of 30");
  const select = fold.querySelector(".filters select");
  select.value = "badnets";
  select.dispatchEvent(new Event("change"));
  need(rows() === 9, rows() + " rows of badnets instead of 9");
  need(all("table.errors tbody tr").length === 3, "a failed training is not told");
}
