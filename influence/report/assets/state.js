// Data of the page, and its state, which lives in the hash: #/view/id?key=value.

let meta, state;
const blocks = new Map();

// A block of data: base64 of gzip of JSON in <script type="text/plain">.
async function load(key) {
  if (!blocks.has(key)) {
    if (!$("d-" + key)) return null;
    const bytes = Uint8Array.from(atob($("d-" + key).textContent.trim()), (c) => c.charCodeAt(0));
    blocks.set(key, JSON.parse(await new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text()));
  }
  return blocks.get(key);
}

// What every view keeps: the ranking, the filters, the checkpoint.
const KEPT = ["rank", "group", "ok", "source", "ckpt"];
const FILTERS = ["group", "ok", "source"];

const safe = (text) => text.replace(/\p{Cs}/gu, "\ufffd"); // lone surrogates have no place in an address
const encode = (text) => encodeURIComponent(safe(text));
function decode(text) {
  try { return decodeURIComponent(text); } catch { return text; }
}
const queryOf = (id) => (id == null ? -1 : meta.queries.findIndex((query) => safe(query.id) === safe(id)));
const stageOf = (text) => meta.stages.names.find((own) => safe(own) === safe(text));
const documentOf = (id) => meta.docs.id.findIndex((own) => safe(own) === safe(id));

function parse() {
  const raw = location.hash.startsWith("#/") ? location.hash.slice(2) : "";
  const [path, ...tail] = raw.split("?");
  const [view, ...id] = path.split("/");
  const values = new URLSearchParams(tail.join("?"));
  const get = (key) => values.get(key) || "";
  return {
    view: view || "overview", id: id.length ? decode(id.join("/")) : null, values, get,
    rank: ["dot", "norm"].includes(get("rank")) ? get("rank") : meta.by === "normed" ? "norm" : "dot",
    group: get("group").split("|").filter(Boolean).map(decode), ok: get("ok"),
    source: values.get("source"), filtered: FILTERS.some((key) => values.has(key)),
    ckpt: meta.stages ? stageOf(get("ckpt")) ?? meta.stages.here : null,
  };
}

function href(view, id, changes) {
  const values = new URLSearchParams(KEPT.filter((key) => state.values.has(key)).map((key) => [key, state.values.get(key)]));
  for (const [key, value] of Object.entries(changes || {})) value == null || value === "" ? values.delete(key) : values.set(key, safe(String(value)));
  const tail = values.toString();
  return `#/${view === "overview" ? "" : view}${id == null ? "" : "/" + encode(id)}${tail ? "?" + tail : ""}`;
}

const same = (changes) => href(state.view, state.id, { ...Object.fromEntries(state.values), ...changes });

function put(changes, quietly) {
  const target = same(changes);
  if (target !== location.hash) history[quietly ? "replaceState" : "pushState"](null, "", target);
  render();
}

// Change the address without drawing the view anew.
function keep(changes) {
  history.replaceState(null, "", same(changes));
  state = parse();
}

// Filters: of queries by group or task and by how they were answered, of documents by source.
const groupsOf = (query) => [query.group, query.task, query.label];
const passes = (query) => (!state.group.length || groupsOf(query).some((own) => state.group.includes(safe(own))))
  && (state.ok === "right" ? query.correct === true : state.ok === "wrong" ? query.correct === false : true);
const visible = () => meta.queries.map((_, i) => i).filter((i) => passes(meta.queries[i]));
const ofSource = (doc) => state.source === null || safe(meta.docs.source[doc]) === state.source;

const rankKey = () => (state.rank === "norm" ? "rn" : "rd");
const ranking = () => (state.rank === "norm" ? "normed" : "dot");
