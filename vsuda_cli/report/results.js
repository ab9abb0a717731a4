"use strict";
const table = document.getElementById("table");
const body = table.tBodies[0];
const cards = document.getElementById("cards");
const heads = [...table.tHead.rows[0].cells];

const control = (id) => document.getElementById(id);

function inScoreRange(row) {
  const column = control("score").value;
  if (column === "") return true;
  const cell = row.querySelectorAll(".score")[Number(column)];
  // A failed case, and a case without this score, is in no range.
  if (!cell || cell.dataset.value === "") return false;
  const [from, to] = [control("from").value, control("to").value];
  const value = Number(cell.dataset.value);
  return (from === "" || value >= Number(from)) && (to === "" || value <= Number(to));
}

function filter() {
  const name = control("name").value.trim().toLowerCase();
  const group = control("group") ? control("group").value : "";
  let count = 0;
  for (const row of body.rows) {
    const fits = row.dataset.name.toLowerCase().includes(name)
      && (group === "" || row.dataset.group === group) && inScoreRange(row);
    row.hidden = !fits;
    control(row.dataset.card).hidden = !fits;
    count += fits ? 1 : 0;
  }
  control("shown").textContent = count + " of " + body.rows.length + " cases";
}

function compare(a, b, column, sign) {
  const kind = heads[column].dataset.kind;
  if (kind !== "score") return sign * a.dataset[kind].localeCompare(b.dataset[kind], "en", { numeric: true });
  // Cases without a value stay at the end whichever way the others are sorted.
  const value = (row) => {
    const cell = row.cells[column];
    return cell && cell.dataset.value ? Number(cell.dataset.value) : NaN;
  };
  const [left, right] = [value(a), value(b)];
  if (Number.isNaN(left) || Number.isNaN(right)) return Number(Number.isNaN(left)) - Number(Number.isNaN(right));
  return sign * (left - right);
}

function sort(column) {
  const descending = heads[column].getAttribute("aria-sort") === "ascending";
  for (const head of heads) head.removeAttribute("aria-sort");
  heads[column].setAttribute("aria-sort", descending ? "descending" : "ascending");
  const rows = [...body.rows].sort((a, b) => compare(a, b, column, descending ? -1 : 1));
  for (const row of rows) {
    body.append(row);
    cards.append(control(row.dataset.card));
  }
}

heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => sort(column)));
for (const id of ["name", "group", "score", "from", "to"]) {
  if (control(id)) control(id).addEventListener("input", filter);
}
for (const box of document.querySelectorAll(".toggle")) {
  box.addEventListener("change", () => document.body.classList.toggle("hide-" + box.value, !box.checked));
}
cards.addEventListener("input", (event) => {
  const figure = event.target.closest(".view");
  if (!figure) return;
  figure.querySelectorAll("svg").forEach((svg, index) => {
    svg.toggleAttribute("hidden", index !== Number(event.target.value));
    if (index === Number(event.target.value)) figure.querySelector(".place").textContent = svg.dataset.place;
  });
});
filter();
