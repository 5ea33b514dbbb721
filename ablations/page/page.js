"use strict";
// Sorts and filters tables and opens the run that a link points to. All is there without it too.

const HEADS = ".gt_group_heading_row, .gt_empty_group_heading"; // of sections, as great_tables has them

// By which a row is sorted in a column: its number, else its words; undefined where it has neither.
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

// A first click sorts upwards, a second downwards, a third gives the table's own order back.
const NEXT = { none: "ascending", ascending: "descending", descending: "none" };

function sortable(table) {
  const body = table.tBodies[0];
  const own = [...body.rows];
  const rows = own.filter((row) => !row.matches(HEADS));
  let section = "";
  for (const row of own) {
    if (row.matches(HEADS)) {
      section = row.textContent.trim();
      const name = document.createElement("span"); // stays in sight when the table is scrolled
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
    // What has no value stands last either way.
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

// Items that lack a word of the filter are hidden, and heads that are left without items.
function filterable(box, items, heads) {
  const controls = box.querySelector(".controls");
  const input = controls.querySelector("input");
  const told = controls.querySelector("output");
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
    told.textContent = asked.length ? `${count} of ${texts.size}` : "";
  });
  controls.hidden = false;
}

function wordsOf(node, head) {
  const parts = node.cells ? [...node.cells].filter((cell) => !cell.querySelector("svg")) : [node.firstElementChild];
  return [head, ...parts].map((part) => (part ? part.textContent : "")).join(" ").toLowerCase();
}

// A link to a run opens it, also where the page was opened by such a link.
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
