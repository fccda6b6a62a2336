"use strict";

// A click on a column's heading sorts by it; undefined figures stay last.
for (const table of document.querySelectorAll("table.sortable")) {
  for (const button of table.querySelectorAll("thead button")) {
    button.addEventListener("click", () => {
      const heading = button.closest("th");
      const direction = heading.getAttribute("aria-sort") === "descending" ? "ascending" : "descending";
      for (const other of table.querySelectorAll("th[aria-sort]")) other.removeAttribute("aria-sort");
      heading.setAttribute("aria-sort", direction);
      table.classList.add("sorted");

      const key = (row) => row.cells[heading.cellIndex].dataset.value ?? "";
      const sign = direction === "ascending" ? 1 : -1;
      const rows = [...table.tBodies[0].rows].sort((a, b) => {
        const [x, y] = [key(a), key(b)];
        if (x === "" || y === "") return (x === "") - (y === "");
        return sign * (isNaN(x) || isNaN(y) ? x.localeCompare(y) : x - y);
      });
      table.tBodies[0].append(...rows);
    });
  }
}

function option(select, text, value) {
  const element = document.createElement("option");
  element.textContent = text;
  element.value = value;
  select.append(element);
}

// Long tables can be narrowed to the rows of one attack, rate or defense.
for (const table of document.querySelectorAll("table.results")) {
  if (!table.closest("details")) continue;
  const rows = [...table.tBodies[0].rows];
  const filters = document.createElement("div");
  filters.className = "filters";
  const selects = ["attack", "rate", "defense"].map((name) => {
    const values = [...new Set(rows.map((row) => row.dataset[name]))];
    const label = document.createElement("label");
    const select = document.createElement("select");
    label.append(name + " ", select);
    option(select, "all", "");
    for (const value of values) if (value !== "") option(select, value, value);
    if (values.length > 1) filters.append(label);
    select.addEventListener("change", () => {
      table.classList.add("sorted");
      for (const row of rows) {
        row.hidden = selects.some(([key, chosen]) => chosen.value !== "" && row.dataset[key] !== chosen.value);
      }
    });
    return [name, select];
  });
  table.closest(".scroll").before(filters);
}

// One of several figures at a time.
for (const choices of document.querySelectorAll(".choices")) {
  const members = [...choices.children];
  if (members.length < 2) continue;
  choices.classList.add("choosing");
  const chooser = document.createElement("div");
  chooser.className = "chooser";
  chooser.setAttribute("role", "group");
  chooser.setAttribute("aria-label", choices.dataset.name);
  const buttons = [];
  const show = (chosen) => {
    members.forEach((member, i) => member.classList.toggle("off", i !== chosen));
    buttons.forEach((button, i) => button.setAttribute("aria-pressed", i === chosen));
  };
  if (members.length <= 8) {
    members.forEach((member, i) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = member.dataset.name;
      button.addEventListener("click", () => show(i));
      buttons.push(button);
      chooser.append(button);
    });
  } else {
    const label = document.createElement("label");
    const select = document.createElement("select");
    label.append(choices.dataset.name + " ", select);
    members.forEach((member, i) => option(select, member.dataset.name, i));
    select.addEventListener("change", () => show(Number(select.value)));
    chooser.append(label);
  }
  choices.prepend(chooser);
  show(Math.max(0, members.findIndex((member) => "first" in member.dataset)));
}

// Paper cannot be unfolded, but the curves of many trainings would fill a book.
addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details:not([open])")) {
    if (details.closest(".many")) continue;
    details.open = true;
    addEventListener("afterprint", () => (details.open = false), { once: true });
  }
});
