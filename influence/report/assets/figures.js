// Figures drawn when the report was written: filters, what they leave unfiltered, data, CSV, SVG.

import { getComputedStyle, XMLSerializer } from "./browser.js";
import { $, all, button, el, name } from "./elements.js";
import { groupsOf, keep, load, meta, passes, state } from "./state.js";
import { save, sortable } from "./tables.js";
import { count, many, number, plain } from "./words.js";

const COLOURS = ["line", "muted", "reasoning", "factual", "control", "s1", "s2", "s3", "s4"];
let filteredBy = ""; // the filters that figures show
let followed = ""; // the filter of answers that their choices were last set to

// Queries that a label of a figure stands for: a group, a task, or none if an analysis was grouped otherwise.
const labelled = new Map();
const members = (text) => labelled.get(text) || [];
export const byId = new Map(); // as figures print ids

export function addData() {
  for (const query of meta.queries) {
    for (const own of new Set(groupsOf(query).flatMap((text) => [text, plain(text)]))) {
      labelled.set(own, [...members(own), query]);
    }
    byId.set(query.id, query).set(plain(query.id), query);
  }
  for (const figure of all("[data-figure]")) {
    const key = figure.dataset.figure,
      details = el(
        "details.plain.figure-data",
        { toggle: () => drawData(details) },
        el("summary", null, "Data"),
        el("div"),
      );
    if ($("d-f-" + key)) figure.append(details);
  }
}

// What is chosen of a figure is in the address as `c-KEY=2.1`: the option of each choice, from 1.
const radios = (figure, n) => all(`.choices input.c${n}`, figure);

export function applyChoices() {
  for (const figure of all("[data-figure]")) {
    const chosen = state.get("c-" + figure.dataset.figure);
    chosen.split(".").forEach((option, n) => {
      const radio = radios(figure, n + 1)[Number(option) - 1];
      if (chosen && radio) radio.checked = true;
    });
  }
}

export function keepChoices(figure) {
  const chosen = [];
  for (let n = 1; radios(figure, n).length; n++) chosen.push(1 + radios(figure, n).findIndex((radio) => radio.checked));
  keep({ ["c-" + figure.dataset.figure]: chosen.every((option) => option === 1) ? null : chosen.join(".") });
}

// Whether a figure is, or can be and was switched to be, over queries answered right only.
function onlyRight(figure) {
  const of = figure.querySelector('input[data-of="right"]');
  return figure.dataset.of === "right" || Boolean(of && of.checked);
}

export function filterFigures(anew) {
  const now = JSON.stringify([state.group, state.ok, state.source, state.view === "correlation" && $("grid") !== null]);
  if (now === filteredBy && !anew) return;
  filteredBy = now;
  const changed = followed !== state.ok;
  followed = state.ok;
  for (const figure of all("[data-figure], [data-scope]")) {
    const of = (which) => figure.querySelector(`input[data-of="${which}"]`);
    if (changed && of("right")) of(state.ok === "right" ? "right" : "all").checked = true;
    let base = new Set();
    const parts = all("[data-label]", figure);
    for (const node of parts) {
      const own = members(node.dataset.label), off = own.length > 0 && !own.some(passes);
      node.classList.toggle("off", off);
      if (!off) (own.length ? own : meta.queries).forEach((query) => base.add(query));
    }
    for (const node of all("[data-query]", figure)) {
      const query = byId.get(node.dataset.query);
      node.classList.toggle("off", Boolean(query && !passes(query)));
    }
    const sources = all("[data-source]", figure);
    for (const node of sources) {
      node.classList.toggle("away", state.source !== null && node.dataset.source !== plain(state.source));
    }
    if (!parts.length) {
      base = new Set(figure.querySelector("#grid, tr[data-query]") ? meta.queries.filter(passes) : meta.queries);
    }
    scope(figure, [...base].filter((query) => !onlyRight(figure) || query.correct === true), sources.length > 0);
  }
}

// Say so where a figure is over more queries or documents than the filters keep.
function scope(figure, base, bySource) {
  const kept = base.filter(passes).length, which = onlyRight(figure) ? " answered right" : "";
  const said = [
    !base.length ? "no query of this figure passes the filters." : kept < base.length &&
      `this figure is over ${many(base.length, "query")}${which}, of which the filters keep ${count(kept)}.`,
    state.source !== null && !bySource && "it counts documents of every source.",
  ].filter(Boolean);
  let node = figure.querySelector(".scope");
  if (!node && said.length) figure.prepend(node = el("p.note.warn.scope", null));
  if (node) node.hidden = !said.length;
  if (said.length) node.textContent = "Not filtered: " + said.join(" And ");
}

export async function drawData(details) {
  const figure = details.parentNode, key = figure.dataset.figure;
  if (!details.open) return;
  const data = await load("f-" + key), at = data.columns.indexOf("label");
  const ids = ["query", "a", "b"].map((title) => data.columns.indexOf(title)).filter((n) => n >= 0);
  const kept = (row) =>
    (at < 0 || !members(row[at]).length || members(row[at]).some(passes)) &&
    ids.every((n) => !byId.has(row[n]) || passes(byId.get(row[n])));
  const rows = data.rows.filter(kept);
  const columns = data.columns.map((title, n) => {
    const value = (row) => row[n], numbers = data.rows.some((row) => typeof row[n] === "number");
    return {
      key: title,
      title: title.replace(/_/g, " "),
      value,
      number: numbers,
      draw: (row) => (row[n] == null ? "–" : numbers ? number(row[n]) : name(String(row[n]))),
    };
  });
  details.lastElementChild.replaceChildren(
    el("p.tools", null, figure.querySelector("svg") && button("SVG", () => saveSvg(figure, key))),
    sortable({ rows, columns, what: key, caption: `Data of the figure ${key}`, prefix: `f-${key}-` }),
  );
}

// What is shown of the charts of a figure, in the colours of the page.
function saveSvg(figure, key) {
  const style = getComputedStyle(figure);
  const colours = {
    currentColor: style.color,
    ...Object.fromEntries(COLOURS.map((own) => [`var(--${own})`, style.getPropertyValue("--" + own).trim()])),
  };
  all("svg", figure).filter((svg) => svg.getClientRects().length).forEach((svg, n) => {
    const copy = svg.cloneNode(true);
    for (const node of all(".off", copy)) node.remove();
    for (const node of [copy, ...all("*", copy)]) {
      for (const key_ of ["fill", "stroke"]) {
        const colour = colours[node.getAttribute(key_)];
        if (colour) node.setAttribute(key_, colour);
      }
    }
    save(`${key}${n ? "-" + (n + 1) : ""}.svg`, "image/svg+xml", new XMLSerializer().serializeToString(copy));
  });
}
