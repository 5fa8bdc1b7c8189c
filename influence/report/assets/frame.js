// The frame: filters and display above the views, keys, and which view is shown.

import { CSS, document, history, matchMedia, scrollTo } from "./browser.js";
import { safe } from "./address.js";
import { closePanel, viewCorrelation } from "./correlation.js";
import { viewDocument } from "./documents.js";
import { $, all, button, el, label, name, ofQueries, toggle } from "./elements.js";
import { addData, applyChoices, byId, drawData, filterFigures, keepChoices } from "./figures.js";
import { labelAt } from "./marking.js";
import { missing, viewQueries, viewQuery } from "./queries.js";
import { viewStages } from "./stages.js";
import { href, meta, open, put, read, stageOf, state, visible } from "./state.js";
import { save } from "./tables.js";

const DRAWN = {
  __proto__: null,
  q: (node, turn) => (state.id == null ? viewQueries(node, turn) : viewQuery(node, turn)),
  d: viewDocument,
};
const PLACED = { __proto__: null, correlation: ["grid-place", viewCorrelation], stages: ["stage-place", viewStages] };
export let turns = 0, shownPath = null, cursor = -1, keysOn = true;

export function bar() {
  const labels = [...new Set(["group", "task"].flatMap((key) => meta.queries.map((query) => query[key])))].slice(0, 24);
  const packed = (list) => list.map((own) => own.replace(/[%|]/g, encodeURIComponent)).join("|");
  const groups = labels.map((text) => {
    const own = safe(text), on = state.group.includes(own);
    return toggle(name(text, "bdi", 40), on, {
      group: packed(on ? state.group.filter((other) => other !== own) : [...state.group, own]),
    });
  });
  const judging = meta.queries.some((query) => query.correct != null) ? ["right", "wrong"] : [];
  $("chips").replaceChildren(
    ...groups,
    ...judging.map((ok) =>
      toggle(`${ok === "right" ? "✓" : "✗"} answered ${ok}`, state.ok === ok, { ok: state.ok === ok ? null : ok })
    ),
  );
  $("shown").textContent = ofQueries(visible().length);
  $("clear").hidden = !state.filtered && !state.get("find");
  $("rank-" + state.rank).checked = true;
  $("source").value = state.source === null ? "" : String(sources.indexOf(state.source) + 1);
  if (meta.stages) $("ckpt").value = meta.stages.names.indexOf(state.ckpt);
  const said = [
    state.source !== null && !sources.includes(state.source) &&
    ["Source ", name(state.source), " is not in this report."],
    state.get("ckpt") && !(meta.stages && stageOf(state.get("ckpt")) !== undefined) &&
    ["Checkpoint ", name(state.get("ckpt")), " is not in this report."],
    meta.stages && state.ckpt !== meta.stages.here &&
    [
      "Checkpoint ",
      name(state.ckpt),
      ": this report holds the first ten documents of each query. Scores, tokens and figures are those of ",
      name(meta.stages.here),
      ".",
    ],
  ].filter(Boolean);
  $("bar-note").hidden = !said.length;
  $("bar-note").replaceChildren(...said.flat());
}

export let sources = [];

function frame() {
  const options = (id, list) => $(id).replaceChildren(...list.map(([value, text]) => el("option", { value }, text)));
  sources = [...new Set(meta.docs.source.map(safe))].sort();
  options("source", [["", "all"], ...sources.map((own, n) => [n + 1, label(own, 60)])]);
  $("source").parentNode.hidden = sources.length < 2;
  if (meta.stages) {
    options("ckpt", meta.stages.names.map((stage, n) => [n, label(stage, 40)]));
  }
  $("ckpt").parentNode.hidden = !meta.stages;
  const on = (id, kind, listen) => $(id) && $(id).addEventListener(kind, listen);
  on("source", "change", (event) => put({ source: sources[event.target.value - 1] }));
  on("ckpt", "change", (event) => {
    const stage = meta.stages.names[event.target.value];
    put({ ckpt: stage === meta.stages.here ? null : stage });
  });
  on("clear", "click", () => put({ group: null, ok: null, source: null, find: null, cell: null }));
  for (const key of ["norm", "dot"]) on("rank-" + key, "change", () => put({ rank: key }));
  addData();
  theme(remembered("theme") || "auto");
  on("theme", "change", (event) => theme(event.target.value));
  on("help-open", "click", () => $("help").showModal());
  on("help-close", "click", () => $("help").close());
  keysOn = $("keys").checked = remembered("keys") !== "off";
  on("keys", "change", (event) => {
    keysOn = event.target.checked;
    remembered("keys", keysOn ? "on" : "off");
  });
  $("copy").append(button("Copy as JSON", async (event) => {
    const text = $("manifest").textContent;
    try {
      await navigator.clipboard.writeText(text);
      event.target.textContent = "Copied";
    } catch {
      save("manifest.json", "application/json", text);
    }
  }));
  document.querySelector(".skip").addEventListener("click", (event) => {
    event.preventDefault();
    $("main").focus();
  });
  document.addEventListener("keydown", keys);
  document.addEventListener("click", (event) => {
    const line = event.target.closest("svg [data-query]"); // a line of a chart opens its query
    if (line) location.hash = href("q", byId.get(line.dataset.query).id);
  });
  document.addEventListener("change", (event) => {
    const figure = event.target.closest(".choices") && event.target.closest("[data-figure]");
    if (figure) keepChoices(figure);
    if (event.target.matches("[data-of]")) filterFigures(true);
  });
}

function remembered(key, value) {
  try {
    if (value !== undefined) localStorage.setItem("influence-" + key, value);
    return localStorage.getItem("influence-" + key);
  } catch {
    return null;
  } // a file without storage
}

function theme(value) {
  $("theme").value = value;
  value === "auto"
    ? document.documentElement.removeAttribute("data-theme")
    : document.documentElement.setAttribute("data-theme", value);
  remembered("theme", value);
}

// Draw the view that the address names. Focus stays on the control that was used, or goes to the title of a new view.
export async function render() {
  const turn = ++turns,
    controls = () => all("button, select, input"),
    active = document.activeElement,
    used = controls().indexOf(active);
  const caret = active.type === "search" ? active.selectionStart : null;
  read();
  const path = state.view + "/" + (state.id ?? ""), moved = shownPath !== null && path !== shownPath;
  shownPath = path;
  cursor = -1;
  const placed = document.querySelector(`section[data-view="${CSS.escape(state.view)}"]:not(#app)`);
  const view = placed && !DRAWN[state.view] ? state.view : "app";
  document.body.dataset.view = view;
  for (const section of all("main > section")) section.classList.toggle("on", section.dataset.view === view);
  for (const link of all("a[data-to]")) {
    link.href = href(link.dataset.to, link.dataset.id ?? null);
    link.dataset.to === state.view && !link.dataset.id
      ? link.setAttribute("aria-current", "page")
      : link.removeAttribute("aria-current");
  }
  bar();
  const [id, draw] = view === "app"
    ? ["app", DRAWN[state.view] || ((node) => missing(node, "view"))]
    : PLACED[view] || [];
  const drawn = id && $(id) && draw($(id), turn);
  applyChoices();
  filterFigures();
  all("details.figure-data").forEach(drawData);
  await drawn;
  if (turn !== turns) return;
  const title = document.querySelector("section.on h2");
  if (moved && title) {
    title.setAttribute("tabindex", "-1");
    title.focus({ preventScroll: true });
    scrollTo(0, 0);
  } else if (used >= 0 && !active.isConnected && controls()[used]) {
    controls()[used].focus({ preventScroll: true });
    if (caret !== null) controls()[used].setSelectionRange(caret, caret);
  }
}

function selectRow(step) {
  const rows = all("section.on tr[data-open]");
  if (!rows.length) return;
  if (rows[cursor]) rows[cursor].removeAttribute("aria-current");
  cursor = Math.max(0, Math.min(rows.length - 1, cursor + step));
  rows[cursor].setAttribute("aria-current", "true");
  rows[cursor].scrollIntoView({ block: "nearest" });
  rows[cursor].querySelector("a").focus();
}

function strongToken(step) {
  const strong = all("#text .tk[tabindex]");
  if (strong.length) {
    strong[step ? (strong.indexOf(document.activeElement) + step + strong.length) % strong.length : 0].focus();
  }
}

function follow(rel) {
  const link = document.querySelector(`#app .step a[rel="${rel}"]`);
  if (link) link.click();
}

export async function find() {
  if (state.view !== "q" || state.id != null) {
    history.pushState(null, "", href("q"));
    await render();
  }
  $("find").focus();
}

const KEYS = {
  __proto__: null,
  "/": find,
  n: () => state.view === "q" && follow("next"),
  p: () => state.view === "q" && follow("prev"),
  j: () => (state.view === "d" ? follow("next") : selectRow(1)),
  k: () => (state.view === "d" ? follow("prev") : selectRow(-1)),
  t: () => strongToken(0),
  ...Object.fromEntries(
    Array.from({ length: 6 }, (_, n) => [n, () => {
      const row = all("section.on tr[data-open]")[cursor];
      if (state.view === "d" || row) labelAt(state.view === "d" ? location.hash : row.dataset.open, n);
    }]),
  ),
  "[": () => strongToken(-1),
  "]": () => strongToken(1),
  r: () => put({ rank: state.rank === "norm" ? "dot" : "norm" }),
  "?": () => $("help").showModal(),
};

export function keys(event) {
  if (event.key === "Escape") {
    if (!$("help").open && !closePanel() && state.view === "d" && state.get("q")) {
      location.hash = href("q", state.get("q"));
    }
    return;
  }
  if (
    !keysOn || event.ctrlKey || event.altKey || event.metaKey || event.target.closest("input, select, textarea, dialog")
  ) return;
  if (KEYS[event.key]) {
    event.preventDefault();
    KEYS[event.key]();
  }
}

export async function start() {
  if (typeof DecompressionStream === "undefined") {
    $("old").hidden = false;
    return;
  }
  await open();
  frame();
  $("bar").hidden = false;
  $("bar").open = !matchMedia("(max-width: 40rem)").matches; // one tap away on a phone
  document.body.dataset.ready = "1";
  addEventListener("hashchange", render);
  render();
}
start();
