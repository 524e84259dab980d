"use strict";
(() => {
  const table = document.getElementById("comparison");
  if (!table) return;
  const bodies = [...table.tBodies];
  const original = bodies.map((body) => [...body.rows]);
  const rows = [...table.querySelectorAll("tbody tr:not(.group)")];
  const buttons = [...table.querySelectorAll("thead button")];
  const filter = document.getElementById("filter");
  const beyond = document.getElementById("beyond");
  const count = document.getElementById("count");

  // The columns that buttons sort: names and units stand first, though in the upper row.
  buttons.forEach((button, column) => {
    const cell = button.closest("th");
    button.addEventListener("click", () => {
      const before = cell.getAttribute("aria-sort");
      const now = { ascending: "descending", descending: null }[before];
      buttons.forEach((other) => other.closest("th").removeAttribute("aria-sort"));
      const order = before === null ? "ascending" : now;
      if (order) cell.setAttribute("aria-sort", order);
      arrange(column, order);
    });
  });

  function arrange(column, order) {
    table.classList.toggle("sorted", Boolean(order));
    if (!order) {
      bodies.forEach((body, index) => body.append(...original[index]));
    } else {
      const sign = order === "ascending" ? 1 : -1;
      bodies[0].append(...[...rows].sort((a, b) => sign * compare(key(a), key(b), sign)));
    }
    function key(row) { return row.cells[column].dataset.key; }
    show();
  }

  // What is unknown comes last, whichever the order.
  function compare(a, b, sign) {
    if (a === "" || b === "") return a === b ? 0 : sign * (a === "" ? 1 : -1);
    const difference = Number(a) - Number(b);
    return Number.isNaN(difference) ? a.localeCompare(b) : difference;
  }

  function show() {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    rows.forEach((row) => {
      const text = `${row.cells[0].dataset.key} ${row.cells[1].dataset.key}`.toLowerCase();
      const fits = words.every((word) => text.includes(word));
      row.hidden = !fits || (beyond.checked && row.dataset.beyond === "0");
      shown += row.hidden ? 0 : 1;
    });
    const sorted = table.classList.contains("sorted");
    bodies.forEach((body, index) => {
      const [head, ...own] = original[index];
      head.hidden = sorted || own.every((row) => row.hidden);
    });
    count.textContent = shown === rows.length ? `${shown} values` : `${shown} of ${rows.length} values`;
  }

  filter.addEventListener("input", show);
  beyond.addEventListener("change", show);
  show();
})();
