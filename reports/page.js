"use strict";
const figures = JSON.parse(document.getElementById("figure-data").textContent);
const safe = {{ safe_colours | tojson }};  // for each colour of the paper one that anybody can tell apart
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const options = {displaylogo: false, modeBarButtons: [["toImage"]]};  // nothing that would leave the page
const safeSwitch = document.getElementById("safe-switch");

function colours(figure) {
  if (!figure.adapts) return {};
  const style = getComputedStyle(document.documentElement);
  const none = "rgba(0,0,0,0)";
  return {"paper_bgcolor": none, "plot_bgcolor": none, "modebar.bgcolor": none,
    "font.color": style.getPropertyValue("--ink").trim()};
}
function traces(figure) {
  if (!safeSwitch?.checked) return figure.data;
  return JSON.parse(JSON.stringify(figure.data).replace(/"#[0-9a-f]{6}"/gi, one => {
    const other = safe[one.slice(1, -1).toLowerCase()];
    return other ? `"${other}"` : one;
  }));
}
function draw(waiting) {
  for (const [name, figure] of Object.entries(figures)) {
    if (Boolean(figure.waits) !== waiting) continue;
    const place = document.getElementById("figure-" + name);
    Plotly.newPlot(place, traces(figure), figure.layout, options).then(() => {
      Plotly.relayout(place, colours(figure));
      dark.addEventListener("change", () => Plotly.relayout(place, colours(figure)));
      if (!figure.adapts) safeSwitch?.addEventListener("change", () => Plotly.react(place, traces(figure), figure.layout));
    });
  }
}
draw(false);
// drawn when first shown: what is hidden has no size to draw in
document.getElementById("published-switch")?.addEventListener("change", () => draw(true), {once: true});

// A table is sorted within its parts: a row that heads others stays above them, and the name of a group at its first row.
function sorted(head) {
  const table = head.closest("table"), back = head.parentNode.cells.length - head.cellIndex;
  const falling = head.getAttribute("aria-sort") !== "descending";
  const cell = row => row.cells[row.cells.length - back];  // a group's name stands in its first row alone
  const text = row => cell(row).textContent.trim();
  const value = row => {
    const number = parseFloat(cell(row).dataset.value ?? (text(row).match(/^[+-]?[\d.]+(e[+-]?\d+)?(?=[\s/%*]|$)/i) || [])[0]);
    return Number.isNaN(number) ? null : number;
  };
  const all = [...table.tBodies].flatMap(body => [...body.rows]).filter(row => !row.classList.contains("head"));
  const numbers = 2 * all.filter(row => value(row) !== null).length >= all.filter(row => text(row)).length;
  const compare = (a, b) => {
    if (!numbers) return falling ? text(b).localeCompare(text(a)) : text(a).localeCompare(text(b));
    const [x, y] = [value(a), value(b)];
    if (x === null || y === null) return (x === null) - (y === null);  // what has no number comes last
    return falling ? y - x : x - y;
  };
  for (const body of table.tBodies) {
    const group = body.querySelector("[rowspan]");
    const rows = [...body.rows].filter(row => !row.classList.contains("head"));
    body.append(...rows.sort(compare));
    if (group) body.rows[0].prepend(group);
  }
  for (const other of head.parentNode.cells) if (other.ariaSort) other.setAttribute("aria-sort", "none");
  head.setAttribute("aria-sort", falling ? "descending" : "ascending");
}
for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => sorted(button.closest("th")));
}

// On paper nothing can be opened.
let closed = [];
addEventListener("beforeprint", () => {
  closed = [...document.querySelectorAll("details:not([open])")];
  for (const one of closed) one.open = true;
});
addEventListener("afterprint", () => { for (const one of closed) one.open = false; });

// A page about a sweep that still runs is read again, until its reader does anything with it.
const unfinished = document.getElementById("unfinished");
if (unfinished) {
  for (const kind of ["pointerdown", "keydown"]) addEventListener(kind, () => { unfinished.hidden = true; });
  setTimeout(() => unfinished.hidden || location.reload(), 20000);
}
