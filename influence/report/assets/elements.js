// Elements. All text enters the page as text nodes; nothing is parsed as markup.

import { document } from "./browser.js";
import { safe } from "./address.js";
import { meta, put } from "./state.js";
import { clip, count, many, pieces, plain } from "./words.js";

const SVG = "http://www.w3.org/2000/svg";
export const $ = (id) => document.getElementById(id);
export const all = (css, inside = document) => [...inside.querySelectorAll(css)];

// An element `tag.class.class` with attributes, listeners (functions) and children; null and false children are left out.
export function el(kind, attributes, ...children) {
  const [tag, ...classes] = kind.split(".");
  const node = tag.startsWith("svg:") ? document.createElementNS(SVG, tag.slice(4)) : document.createElement(tag);
  if (classes.length) node.setAttribute("class", classes.join(" "));
  for (const [key, value] of Object.entries(attributes || {})) {
    if (typeof value === "function") node.addEventListener(key, value);
    else if (value === true) node.setAttribute(key, "");
    else if (value !== false && value != null) node.setAttribute(key, value);
  }
  node.append(...children.flat(3).filter((child) => child != null && child !== false));
  return node;
}

export const button = (label, click, more) => el("button", { type: "button", class: "plainly", click, ...more }, label);
export const note = (...children) => el("p.note", null, ...children);
export const muted = (...children) => el("span.muted", null, ...children);
export const unspoken = (text) => el("span", { "aria-hidden": "true" }, text);
export const facts = (...pairs) =>
  el(
    "dl.facts",
    null,
    pairs.map((pair) => pair && el("div", null, el("dt", null, pair[0]), el("dd", null, pair.slice(1)))),
  );
export const unseen = (...children) => el("span.unseen", null, ...children);
export const scroll = (said, ...children) =>
  el("div.scroll", { role: "region", tabindex: "0", "aria-label": said }, ...children);
export const legendBar = (from, ramp, to, ...said) =>
  el("p.legend-bar", null, el("span", null, from), ramp, el("span", null, to), muted(...said));
export const live = (text, id) => el("p.status", { id, "aria-live": "polite" }, text);
export const heading = (...children) => el("h2", { tabindex: "-1" }, ...children);

export const svgLine = (x1, x2, y1, y2, kind = "grid") => el("svg:line", { class: kind, x1, x2, y1, y2 });
export const svgText = (x, y, anchor, text, kind) => el("svg:text", { x, y, "text-anchor": anchor, class: kind }, text);

// A choice that is kept in the address.
export function choose(key, label, options, value) {
  const list = options.map(([own, text]) => el("option", { value: plain(String(own)), selected: own === value }, text));
  const change = (event) => put({ [key]: options[event.target.selectedIndex][0], cell: null }, true);
  return el("label", null, label + " ", el("select", { id: "pick-" + key, change }, list));
}
export const queryOptions = (list) => list.map((i) => [safe(meta.queries[i].id), label(meta.queries[i].id, 60)]);
export const toggle = (text, on, changes) =>
  button(text, () => put({ ...changes, cell: null }), { class: "filter", "aria-pressed": String(on) });

// Text as nodes, hidden characters as chips; with `lines`, line feeds and tabs stay what they are.
const BLANKS = { __proto__: null, "U+0009": "⇥", "U+000A": "↵" }; // harmless where they are not kept
const chip = (piece) => (BLANKS[piece] ? el("span.blank", null, BLANKS[piece]) : el("span.chip", null, piece));
export const show = (text, lines) => pieces(text, lines).map(([hidden, piece]) => (hidden ? chip(piece) : piece));

// A name, clipped where many stand together; whole where it is what a view is about.
export const name = (text, tag = "bdi", length = 120) =>
  el(tag, null, text ? show(clip(text, length)) : muted("(empty)"));
export const whole = (text, tag) => name(text, tag, Infinity);
export const code = (text, length) => name(text, "code", length);
export const label = (text, length) => clip(plain(text) || "(empty)", length);

export function sign(value) {
  const [kind, glyph, said] = value > 0
    ? ["up", "▲", "raises"]
    : value < 0
    ? ["down", "▼", "lowers"]
    : ["muted", "·", "zero"];
  return el("span", { class: kind }, unspoken(glyph), unseen(said));
}
export const ofQueries = (n) => `${count(n)} of ${many(meta.queries.length, "query")}`;
