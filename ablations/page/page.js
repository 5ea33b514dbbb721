"use strict";
// Sorts and filters tables, and opens the run that a link points to. The page is complete without it.

const HEADS = ".gt_group_heading_row, .gt_empty_group_heading"; // section headings of great_tables

// The sort key of a row in a column: its number, else its text; undefined if it is empty.
function keyOf(row, column) {
  const cell = row.cells[column];
  const number = cell.querySelector("[data-sort]");
  if (number) return Number(number.dataset.sort);
  return cell.textContent.trim().toLowerCase() || undefined;
}

function compare(a, b) {
  if (typeof a === typeof b) return typeof a === "number" ? a - b : a.localeCompare(b);
  return typeof a === "number" ? -1 : 1;
}

// The first click sorts ascending, the second descending, the third restores the original order.
const NEXT = { none: "ascending", ascending: "descending", descending: "none" };

function sortable(table) {
  const body = table.tBodies[0];
  const own = [...body.rows];
  const rows = own.filter((row) => !row.matches(HEADS));
  let section = "";
  for (const row of own) {
    if (row.matches(HEADS)) {
      section = row.textContent.trim();
      const name = document.createElement("span"); // stays visible when the table is scrolled
      name.append(...row.cells[0].childNodes);
      row.cells[0].append(name);
    } else if (section) row.cells[0].dataset.section = section;
  }
  const heads = [...table.querySelectorAll(".gt_col_headings th")];
  const sort = (column) => {
    const order = NEXT[heads[column].ariaSort];
    for (const head of heads) head.ariaSort = "none";
    heads[column].ariaSort = order;
    table.classList.toggle("sorted", order !== "none");
    const keys = new Map(rows.map((row) => [row, keyOf(row, column)]));
    const known = rows.filter((row) => keys.get(row) !== undefined);
    known.sort((a, b) => compare(keys.get(a), keys.get(b)));
    if (order === "descending") known.reverse();
    // Rows without a value come last in either order.
    const unknown = rows.filter((row) => keys.get(row) === undefined);
    body.append(...(order === "none" ? own : [...known, ...unknown]));
  };
  heads.forEach((head, column) => {
    head.ariaSort = "none";
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    head.addEventListener("click", () => sort(column));
  });
}

// Hides items that lack a word of the filter, and headings without visible items.
function filterable(box, items, heads) {
  const controls = box.querySelector(".controls");
  const input = controls.querySelector("input");
  const status = controls.querySelector("output");
  const texts = new Map();
  let head = null;
  for (const node of box.querySelectorAll(`${heads}, ${items}`)) {
    if (node.matches(heads)) head = node;
    else texts.set(node, { head, text: wordsOf(node, head) });
  }
  input.addEventListener("input", () => {
    const asked = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    const shown = new Set();
    let count = 0;
    for (const [node, { head, text }] of texts) {
      node.hidden = !asked.every((word) => text.includes(word));
      if (node.hidden) continue;
      count += 1;
      shown.add(head);
    }
    for (const node of box.querySelectorAll(heads)) node.hidden = !shown.has(node);
    status.textContent = asked.length ? `${count} of ${texts.size}` : "";
  });
  controls.hidden = false;
}

function wordsOf(node, head) {
  const parts = node.cells ? [...node.cells].filter((cell) => !cell.querySelector("svg")) : [node.firstElementChild];
  return [head, ...parts].map((part) => (part ? part.textContent : "")).join(" ").toLowerCase();
}

// A link to a run opens it, also when the page is loaded with such a link.
function reveal(hash) {
  const target = hash.length > 1 && document.getElementById(decodeURIComponent(hash.slice(1)));
  const box = target && target.closest("details");
  if (box) box.open = true;
}

for (const figure of document.querySelectorAll("figure.table")) {
  sortable(figure.querySelector("table"));
  filterable(figure, `tbody tr:not(${HEADS})`, HEADS);
}
for (const runs of document.querySelectorAll("section.runs")) filterable(runs, "details", "h4");
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[href^='#']");
  if (link) reveal(link.hash);
});
addEventListener("hashchange", () => reveal(location.hash));
reveal(location.hash);
