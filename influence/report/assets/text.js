// Elements, text and numbers. All text enters the page as text nodes; nothing is parsed as markup.

const SVG = "http://www.w3.org/2000/svg";
// Characters that show nothing or reorder others: what `report.text` names in the static part.
const HIDDEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\p{NChar}\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0\u{e0100}-\u{e01ef}]/u;

const $ = (id) => document.getElementById(id);
const all = (css, inside = document) => [...inside.querySelectorAll(css)];

// An element `tag.class.class` with attributes, listeners (functions) and children; null and false children are left out.
function el(kind, attributes, ...children) {
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

const button = (label, click, more) => el("button", { type: "button", class: "plainly", click, ...more }, label);
const note = (...children) => el("p.note", null, ...children);
const muted = (...children) => el("span.muted", null, ...children);
const unspoken = (text) => el("span", { "aria-hidden": "true" }, text);
const facts = (...pairs) => el("dl.facts", null, pairs.map((pair) => pair && el("div", null, el("dt", null, pair[0]), el("dd", null, pair.slice(1)))));
const unseen = (...children) => el("span.unseen", null, ...children);
const scroll = (said, ...children) => el("div.scroll", { role: "region", tabindex: "0", "aria-label": said }, ...children);
const legendBar = (from, ramp, to, ...said) => el("p.legend-bar", null, el("span", null, from), ramp, el("span", null, to), muted(...said));
const live = (text, id) => el("p.status", { id, "aria-live": "polite" }, text);
const heading = (...children) => el("h2", { tabindex: "-1" }, ...children);

const svgLine = (x1, x2, y1, y2, kind = "grid") => el("svg:line", { class: kind, x1, x2, y1, y2 });
const svgText = (x, y, anchor, text, kind) => el("svg:text", { x, y, "text-anchor": anchor, class: kind }, text);

// A choice that is kept in the address.
function choose(key, label, options, value) {
  const list = options.map(([own, text]) => el("option", { value: plain(String(own)), selected: own === value }, text));
  const change = (event) => put({ [key]: options[event.target.selectedIndex][0], cell: null }, true);
  return el("label", null, label + " ", el("select", { id: "pick-" + key, change }, list));
}
const queryOptions = (list) => list.map((i) => [safe(meta.queries[i].id), label(meta.queries[i].id, 60)]);
const toggle = (text, on, changes) => button(text, () => put({ ...changes, cell: null }), { class: "filter", "aria-pressed": String(on) });

// Text as nodes, hidden characters as chips; with `lines`, line feeds and tabs stay what they are.
function show(text, lines) {
  const parts = [];
  let run = "";
  for (const c of lines ? text.replace(/\r\n/g, "\n") : text) {
    if (HIDDEN.test(c) && !(lines && (c === "\n" || c === "\t"))) {
      parts.push(run, el("span.chip", null, "U+" + c.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")));
      run = "";
    } else run += c;
  }
  return [...parts, run].filter((part) => part !== "");
}

const clip = (text, n) => (text.length > n ? text.slice(0, n - 1) + "…" : text);
const plain = (text) => show(text).map((part) => (typeof part === "string" ? part : `⟨${part.textContent}⟩`)).join("");
// A name, clipped where many stand together; whole where it is what a view is about.
const name = (text, tag = "bdi", length = 120) => el(tag, null, text ? show(clip(text, length)) : muted("(empty)"));
const whole = (text, tag) => name(text, tag, Infinity);
const code = (text, length) => name(text, "code", length);
const label = (text, length) => clip(plain(text) || "(empty)", length);

const minus = (text) => text.replace(/-/g, "−");
const count = (n) => minus(Math.round(n).toLocaleString("en-US"));
const many = (n, one) => `${count(n)} ${n === 1 ? one : one.replace(/y$/, "ie") + "s"}`;
const some = (n, of, one) => (n < of ? `${count(n)} of ` : "") + many(of, one);
const ofQueries = (n) => `${count(n)} of ${many(meta.queries.length, "query")}`;

function signed(value, digits = 2) {
  if (value == null) return "not defined";
  const text = value.toFixed(digits);
  return Number(text) === 0 ? text.replace("-", "") : (value > 0 ? "+" : "") + minus(text);
}

// Numbers of a column: four significant digits of the largest; what is too small for them in scientific notation.
function column(values) {
  const largest = Math.max(0, ...values.filter(Number.isFinite).map(Math.abs));
  const exponent = largest ? Math.floor(Math.log10(largest)) : 0;
  const digits = Math.max(0, 3 - exponent);
  return values.map((v) => {
    if (!Number.isFinite(v)) return "not defined";
    if (v === 0) return "0";
    if (exponent < -4 || exponent > 6 || Math.abs(v) < 0.5 * 10 ** -digits) return minus(v.toExponential(3).replace("e+", "e"));
    return minus(v.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits }));
  });
}
const number = (v) => column([v])[0];

function sign(value) {
  const [kind, glyph, said] = value > 0 ? ["up", "▲", "raises"] : value < 0 ? ["down", "▼", "lowers"] : ["muted", "·", "zero"];
  return el("span", { class: kind }, unspoken(glyph), unseen(said));
}
