"use strict";
// The interactive part of a report. All text enters the page as text nodes; nothing is parsed as markup.
(() => {
  const $ = (id) => document.getElementById(id);
  const SVG = "http://www.w3.org/2000/svg";
  const HIDDEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\p{NChar}\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0\u{e0100}-\u{e01ef}]/u;
  const PAGE = 200;
  const GRID = 120;
  const SHARED = 50;
  const blocks = new Map();
  let meta, state, shownPath = null, rows = [], cursor = -1, back = null, keysOn = true, table = null;

  // -- elements and text

  function el(tag, attributes, ...children) {
    const node = tag.startsWith("svg:") ? document.createElementNS(SVG, tag.slice(4)) : document.createElement(tag);
    for (const [key, value] of Object.entries(attributes || {})) {
      if (typeof value === "function") node.addEventListener(key, value);
      else if (value === true) node.setAttribute(key, "");
      else if (value !== false && value != null) node.setAttribute(key, value);
    }
    node.append(...children.flat(3).filter((child) => child != null && child !== false));
    return node;
  }

  function show(text, lines) {
    const parts = [];
    let run = "";
    for (const c of lines ? text.replace(/\r\n/g, "\n") : text) {
      if (HIDDEN.test(c) && !(lines && (c === "\n" || c === "\t"))) {
        if (run) parts.push(run);
        run = "";
        parts.push(el("span", { class: "chip" }, "U+" + c.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")));
      } else run += c;
    }
    if (run) parts.push(run);
    return parts;
  }

  const plain = (text) => show(text).map((part) => (typeof part === "string" ? part : "⟨" + part.textContent + "⟩")).join("");
  const name = (text, tag) => el(tag || "bdi", null, text ? show(text) : el("span", { class: "muted" }, "(empty)"));
  const clip = (text, n) => (text.length > n ? text.slice(0, n - 1) + "…" : text);
  const minus = (text) => text.replace(/-/g, "−");
  const count = (n) => minus(Math.round(n).toLocaleString("en-US"));
  const many = (n, one, more) => count(n) + " " + (n === 1 ? one : more || one + "s");
  const signed = (r, digits) => (r == null ? "not defined" : Number(r.toFixed(digits ?? 2)) === 0 ? (0).toFixed(digits ?? 2) : (r > 0 ? "+" : "") + minus(r.toFixed(digits ?? 2)));

  // Four significant digits of the largest of a column; what is too small for them in scientific notation.
  function column(values) {
    const largest = Math.max(0, ...values.filter(Number.isFinite).map(Math.abs));
    const exponent = largest ? Math.floor(Math.log10(largest)) : 0;
    const decimals = Math.max(0, 3 - exponent);
    return values.map((v) => {
      if (!Number.isFinite(v)) return "not defined";
      if (v === 0) return "0";
      if (exponent < -4 || exponent > 6 || Math.abs(v) < 0.5 * 10 ** -decimals) return minus(v.toExponential(3).replace("e+", "e"));
      return minus(v.toLocaleString("en-US", { minimumFractionDigits: decimals, maximumFractionDigits: decimals }));
    });
  }
  const number = (v) => column([v])[0];

  function sign(value) {
    const [kind, glyph, said] = value > 0 ? ["up", "▲", "raises"] : value < 0 ? ["down", "▼", "lowers"] : ["muted", "·", "zero"];
    return el("span", { class: kind }, el("span", { "aria-hidden": "true" }, glyph), el("span", { class: "unseen" }, said));
  }

  // -- data: base64 of gzip of JSON in <script type="text/plain">

  async function load(key) {
    if (!blocks.has(key)) {
      const node = $("d-" + key);
      if (!node) return null;
      const bytes = Uint8Array.from(atob(node.textContent.trim()), (c) => c.charCodeAt(0));
      const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
      blocks.set(key, JSON.parse(await new Response(stream).text()));
    }
    return blocks.get(key);
  }

  // -- state lives in the hash: #/view/id?key=value

  const safe = (text) => text.replace(/\p{Cs}/gu, "\ufffd");
  const encode = (text) => encodeURIComponent(safe(text));
  function decode(text) {
    try { return decodeURIComponent(text); } catch { return text; }
  }

  function parse() {
    const raw = location.hash.startsWith("#/") ? location.hash.slice(2) : "";
    const cut = raw.indexOf("?");
    const parts = (cut < 0 ? raw : raw.slice(0, cut)).split("/");
    const values = new URLSearchParams(cut < 0 ? "" : raw.slice(cut + 1));
    return {
      view: parts[0] || "overview", id: parts.length > 1 ? decode(parts.slice(1).join("/")) : null, values,
      rank: values.get("rank") === "dot" || values.get("rank") === "norm" ? values.get("rank") : meta.by === "normed" ? "norm" : "dot",
      group: (values.get("group") || "").split("|").filter(Boolean), ok: values.get("ok") || "",
    };
  }

  function href(view, id, changes) {
    const values = new URLSearchParams();
    for (const key of ["rank", "group", "ok"]) if (state.values.get(key)) values.set(key, state.values.get(key));
    for (const [key, value] of Object.entries(changes || {})) value == null || value === "" ? values.delete(key) : values.set(key, safe(String(value)));
    const tail = values.toString();
    return "#/" + (view === "overview" ? "" : view) + (id == null ? "" : "/" + encode(id)) + (tail ? "?" + tail : "");
  }

  function same(changes) {
    return href(state.view, state.id, { ...Object.fromEntries(state.values), ...changes });
  }

  function put(changes, quietly) {
    const target = same(changes);
    if (target !== location.hash) history[quietly ? "replaceState" : "pushState"](null, "", target);
    render();
  }

  // -- filters

  function passes(query) {
    const groups = state.group;
    if (groups.length && !groups.includes(safe(query.group)) && !groups.includes(safe(query.task))) return false;
    return !state.ok || (state.ok === "right" ? query.correct === true : query.correct === false);
  }
  const visible = () => meta.queries.map((_, i) => i).filter((i) => passes(meta.queries[i]));
  function labelPasses(label) {
    if (!state.group.length) return true;
    return meta.queries.some((q) => [q.label, q.group, plain(q.label), plain(q.group)].includes(label) && (state.group.includes(safe(q.group)) || state.group.includes(safe(q.task))));
  }

  function chips() {
    const labels = [...new Set([...meta.queries.map((q) => q.group), ...meta.queries.map((q) => q.task)])].slice(0, 24);
    const chip = (label, on, change) => el("button", { type: "button", class: "filter", "aria-pressed": String(on), click: () => put(change) }, label);
    $("chips").replaceChildren(
      ...labels.map((label) => {
        const own = safe(label), on = state.group.includes(own);
        const next = on ? state.group.filter((g) => g !== own) : [...state.group, own];
        return chip(name(clip(label, 40)), on, { group: next.join("|"), cell: null });
      }),
      ...(meta.queries.some((q) => q.correct != null)
        ? ["right", "wrong"].map((ok) => chip((ok === "right" ? "✓ " : "✗ ") + "answered " + ok, state.ok === ok, { ok: state.ok === ok ? null : ok, cell: null })) : []),
    );
    const n = visible().length;
    $("shown").textContent = `${count(n)} of ${many(meta.queries.length, "query", "queries")}`;
    $("clear").hidden = !state.group.length && !state.ok;
    for (const key of ["norm", "dot"]) $("rank-" + key).checked = state.rank === key;
  }

  // -- tables: sorted by buttons in their headers, paged, saved as CSV

  function cell(value) {
    if (typeof value === "number" && Number.isFinite(value)) return String(value);
    const text = value == null || typeof value === "number" ? "" : String(value);
    const guarded = /^[=+\-@\t\r]/.test(text) ? "'" + text : text;
    return /[",\r\n]/.test(guarded) ? '"' + guarded.replace(/"/g, '""') + '"' : guarded;
  }

  function save(what, type, text) {
    const url = URL.createObjectURL(new Blob([text], { type }));
    const link = el("a", { href: url, download: `${plain(meta.title).replace(/[^\w.-]+/g, "-") || "run"}_${what}` });
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(url), 10000);
  }

  const csv = (what, columns, list) => save(what + ".csv", "text/csv;charset=utf-8",
    "\ufeff" + [columns.map((c) => c.key), ...list.map((row) => columns.map((c) => c.value(row)))].map((r) => r.map(cell).join(",") + "\r\n").join(""));

  // columns: {key, title, unit, value(row), draw(row), number, cls}; sorting is kept in the hash as sort=key or sort=-key.
  function sortable(options) {
    const { columns, what, label, prefix = "", first } = options;
    const key = prefix + "sort", asked = state.values.get(key) || first || "";
    const by = columns.find((c) => c.key === asked.replace(/^-/, ""));
    const list = options.rows.slice();
    if (by) {
      const way = asked.startsWith("-") ? -1 : 1;
      const rank = (v) => (v == null || Number.isNaN(v) ? null : v);
      list.sort((a, b) => {
        const x = rank(by.value(a)), y = rank(by.value(b));
        return x === null || y === null ? (x === null) - (y === null) : way * (x < y ? -1 : x > y ? 1 : 0);
      });
    }
    const drawn = columns.filter((c) => c.draw || c.number);
    const texts = new Map(drawn.filter((c) => c.number && !c.draw).map((c) => [c, new Map(column(list.map((r) => Number(c.value(r) ?? NaN))).map((t, i) => [list[i], t]))]));
    const head = el("tr", null, drawn.map((c) => el("th", {
      scope: "col", class: c.number ? "number" : c.cls, "aria-sort": by === c ? (asked.startsWith("-") ? "descending" : "ascending") : c.plain ? null : "none",
    }, c.plain ? c.title : el("button", { type: "button", click: () => put({ [key]: by === c && !asked.startsWith("-") ? "-" + c.key : c.key, focus: null }, true) },
      c.title, by === c ? el("span", { "aria-hidden": "true" }, asked.startsWith("-") ? " ↓" : " ↑") : null), c.unit ? el("small", null, c.unit) : null)));
    const body = el("tbody");
    const more = el("button", { type: "button", class: "plainly", click: () => fill(body.children.length + PAGE) });
    const fill = (to) => {
      for (const row of list.slice(body.children.length, to)) {
        const tr = el("tr", null, drawn.map((c) => el("td", { class: c.number ? "number " + (c.cls ? c.cls(row) : "") : c.cls }, c.draw ? c.draw(row) : texts.get(c).get(row))));
        if (options.open) tr.dataset.open = options.open(row);
        body.append(tr);
      }
      more.hidden = body.children.length >= list.length;
      more.textContent = `Show more (${count(list.length - body.children.length)} left)`;
    };
    fill(PAGE);
    return el("div", { class: "data" },
      el("p", { class: "tools" }, el("span", { class: "muted" }, options.said || many(list.length, "row")), el("button", { type: "button", class: "plainly", "data-csv": what, click: () => csv(what, columns, list) }, "CSV")),
      el("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": label }, el("table", { class: options.cls || "documents" }, el("thead", null, head), body)), more);
  }

  // -- queries

  const title = (text, ...more) => el("h2", { tabindex: "-1" }, text, ...more);
  const queryLink = (i, changes) => el("a", { href: href("q", meta.queries[i].id, changes) }, name(clip(meta.queries[i].id, 120), "code"));
  const judged = (c) => (c == null ? el("span", { class: "muted" }, "not judged") : el("span", null, el("span", { "aria-hidden": "true" }, c ? "✓ " : "✗ "), c ? "correct" : "wrong"));

  function strongest(i) {
    let best = null;
    meta.queries.forEach((_, j) => {
      const value = i === j ? null : r(i, j);
      if (value != null && (best === null || value > best.r)) best = { j, r: value };
    });
    return best;
  }

  function viewQueries(node) {
    const wanted = (state.values.get("find") || "").toLowerCase();
    const list = visible().filter((i) => !wanted || [meta.queries[i].id, meta.queries[i].task, meta.queries[i].prompt || "", meta.queries[i].completion || ""].some((t) => safe(t).toLowerCase().includes(wanted)))
      .map((i) => ({ i, q: meta.queries[i], best: strongest(i) }));
    const input = el("input", { id: "find", type: "search", value: state.values.get("find") || "", input: (event) => put({ find: event.target.value }, true) });
    const texts = meta.texts !== "none";
    const columns = [
      { key: "id", title: "query", value: (o) => o.q.id, draw: (o) => queryLink(o.i), cls: "id" },
      { key: "group", title: "group", value: (o) => o.q.group, draw: (o) => name(o.q.group) },
      { key: "task", title: "task", value: (o) => o.q.task, draw: (o) => name(o.q.task) },
      ...(texts ? [{ key: "prompt", title: "prompt", value: (o) => o.q.prompt, draw: (o) => el("div", { class: "clamp", dir: "auto" }, show(clip(o.q.prompt, 300))), cls: "snippet" },
        { key: "completion", title: "completion", value: (o) => o.q.completion, draw: (o) => el("div", { class: "clamp", dir: "auto" }, show(clip(o.q.completion, 200))), cls: "some" }] : []),
      { key: "correct", title: "correct", value: (o) => (o.q.correct == null ? "" : o.q.correct ? "yes" : "no"), draw: (o) => judged(o.q.correct), cls: "nowrap" },
      { key: "nats", title: "nats", unit: "−log p", value: (o) => o.q.nats, number: true },
      ...(meta.answers ? [{ key: "answer_rank", title: "answer", unit: "best rank", value: (o) => o.q.answered, number: true, draw: (o) => (o.q.answered == null ? "–" : count(o.q.answered)) }] : []),
      { key: "max_r", title: "max R", unit: "with another", value: (o) => o.best && o.best.r, number: true, draw: (o) => (o.best ? signed(o.best.r) : "–") },
    ];
    const old = document.activeElement && document.activeElement.id === "find" ? document.activeElement.selectionStart : null;
    node.replaceChildren(title("Queries"),
      el("p", { class: "tools" }, el("label", { for: "find" }, "Find "), input),
      list.length ? sortable({ columns, rows: list, what: "queries", label: "Queries", open: (o) => href("q", o.q.id), said: `${count(list.length)} of ${many(meta.queries.length, "query", "queries")}` })
        : el("p", { class: "note" }, "No query passes these filters."));
    if (old !== null) { input.focus(); input.setSelectionRange(old, old); }
    remember();
  }

  const rankKey = () => (state.rank === "norm" ? "rn" : "rd");

  function listed(i, end) {
    const { d, rn, rd, n, s, end: ends } = meta.lists[i];
    const nats = meta.queries[i].nats;
    const out = d.map((doc, at) => ({ doc, rn: rn[at], rd: rd[at], n: n[at], s: s[at], p: nats > 0 ? s[at] / nats : NaN, end: ends[at] }));
    const kept = end === "both" ? out : out.filter((o) => o.end === 2 || o.end === (end === "top" ? 0 : 1));
    return kept.sort((a, b) => (end === "bottom" ? -1 : 1) * (a[rankKey()] - b[rankKey()]));
  }

  const inTop = (i, key, k) => { const l = meta.lists[i]; return new Map(l.d.map((doc, at) => [doc, l[key][at]]).filter(([, rank]) => rank <= k)); };
  let holders = null;
  function holding(doc) {
    if (!holders) {
      holders = meta.docs.id.map(() => []);
      meta.lists.forEach((l, i) => l.d.forEach((d, at) => { if (Math.min(l.rn[at], l.rd[at]) <= SHARED) holders[d].push(i); }));
    }
    return holders[doc];
  }
  const evidence = (i, doc) => (meta.hits && meta.hits[i] && meta.hits[i][doc]) || [];
  const relation = (i, doc) => (meta.relations && meta.relations[i] && meta.relations[i][doc]) || null;

  function viewQuery(node) {
    const i = meta.queries.findIndex((q) => safe(q.id) === safe(state.id));
    if (i < 0) return missing(node, "query");
    const q = meta.queries[i], l = meta.lists[i], end = state.values.get("end") || "top", beside = state.values.get("beside") === "1";
    const seen = visible(), at = seen.indexOf(i);
    const step = (to, said) => (to == null ? null : el("a", { href: href("q", meta.queries[to].id), rel: said }, said === "prev" ? "← previous" : "next →"));
    const all = listed(i, end), source = state.values.get("source");
    const list = source == null ? all : all.filter((o) => safe(meta.docs.source[o.doc]) === source);
    const sources = [...new Set(all.map((o) => meta.docs.source[o.doc]))].sort();
    const text = (label, value) => (value == null ? null : el("div", null, el("dt", null, label), el("dd", { class: "text", dir: "auto" }, value ? show(value, true) : el("span", { class: "muted" }, "(empty)"))));
    const fact = (label, ...value) => el("div", null, el("dt", null, label), el("dd", null, ...value));
    const tab = (value, label) => el("button", { type: "button", class: "filter", "aria-pressed": String(end === value && !beside), click: () => put({ end: value, beside: null }) }, label);
    node.replaceChildren(title(name(q.id, "code"), " ", el("span", { class: "muted" }, name(q.task), ", ", name(q.group))),
      el("p", { class: "step" }, step(at > 0 ? seen[at - 1] : null, "prev"), el("a", { href: href("q") }, "all queries"), step(at >= 0 && at + 1 < seen.length ? seen[at + 1] : null, "next")),
      el("dl", { class: "exchange" }, text("Prompt", q.prompt), text("Completion", q.completion)),
      el("dl", { class: "facts" }, q.answer ? fact("answer", name(q.answer)) : null, fact("correct", judged(q.correct)), fact("I_q", number(q.nats), " nats"),
        ...q.overlap.map(([k, share]) => fact(`overlap@${count(k)} of normed and dot`, (100 * share).toFixed(0), " %")), fact("Spearman ρ of normed and dot", signed(q.rho))),
      ...q.notes.map((note) => el("p", { class: "note warn" }, note)),
      curve(q),
      el("div", { class: "tabs", role: "group", "aria-label": "Documents shown" }, tab("top", "Top"), tab("bottom", "Bottom"), tab("both", "Both"),
        el("button", { type: "button", class: "filter", "aria-pressed": String(beside), click: () => put({ beside: beside ? null : "1" }) }, "Side by side"),
        sources.length > 1 && !beside ? el("label", null, "Source ", el("select", { id: "source", change: (event) => put({ source: event.target.value === "" ? null : sources[event.target.value - 1] }) },
          el("option", { value: "" }, "all"), sources.map((s, n) => el("option", { value: n + 1, selected: source === safe(s) }, clip(plain(s) || "(empty)", 60))))) : null),
      beside ? sideBySide(i) : documents(i, list, end));
    if (l.d.length === meta.documents && !beside) node.append(el("p", { class: "note" }, "The table holds every document that was scored."));
    remember();
  }

  function documents(i, list, end) {
    const nats = (o) => o.p, d = meta.docs, k = meta.k;
    const out = (key) => (o) => (o[key] > k && o[key] <= meta.documents - k ? "out" : "");
    const columns = [
      { key: "rank_normed", title: "rank", unit: "normed", value: (o) => o.rn, draw: (o) => count(o.rn), number: true, cls: out("rn") },
      { key: "rank_dot", title: "rank", unit: "dot", value: (o) => o.rd, draw: (o) => count(o.rd), number: true, cls: out("rd") },
      { key: "delta", title: "Δ", unit: "dot − normed", value: (o) => o.rd - o.rn, draw: (o) => (o.rd > o.rn ? "+" : "") + count(o.rd - o.rn), number: true },
      { key: "normed", title: "normed", unit: "dot / ‖G‖₂", value: (o) => o.n, number: true },
      { key: "per_nat", title: "per nat", unit: "dot / I_q", value: nats, number: true },
      { key: "dot", title: "dot", unit: "nats", value: (o) => o.s, number: true },
      { key: "sign", title: "sign", value: (o) => Math.sign(o.s), draw: (o) => sign(o.s), cls: "glyph" },
      { key: "source", title: "source", value: (o) => d.source[o.doc], draw: (o) => name(clip(d.source[o.doc], 120)), cls: "source" },
      { key: "document", title: "document", value: (o) => d.id[o.doc], draw: (o) => el("a", { href: docHref(o.doc, i) }, name(clip(d.id[o.doc], 120), "code")), cls: "id" },
      ...(meta.texts === "none" ? [] : [{ key: "text", title: "text", unit: "beginning", value: (o) => d.snippet[o.doc], draw: (o) => el("span", { dir: "auto" }, show(d.snippet[o.doc])), cls: "snippet", plain: true }]),
      ...(meta.answers ? [{ key: "answer", title: "answer", value: (o) => evidence(i, o.doc).map((h) => h[0]).join(" "), draw: (o) => [...new Set(evidence(i, o.doc).map((h) => h[0]))].map((part) => el("span", { class: "badge" }, plain(part))) }] : []),
      ...(meta.relations ? [{ key: "relation", title: "relation", value: (o) => (relation(i, o.doc) || [""])[0], draw: (o) => plain((relation(i, o.doc) || ["–"])[0]) }] : []),
      { key: "also", title: "also in", unit: "top 50s", value: (o) => holding(o.doc).filter((j) => j !== i).length, draw: (o) => count(holding(o.doc).filter((j) => j !== i).length), number: true },
    ];
    const firstSort = (end === "bottom" ? "-" : "") + (state.rank === "norm" ? "rank_normed" : "rank_dot");
    return sortable({ columns, rows: list, what: `documents-${plain(meta.queries[i].id)}`.replace(/[^\w.-]+/g, "-"), label: "Documents of the query", first: firstSort, open: (o) => docHref(o.doc, i), said: many(list.length, "document") });
  }

  const docHref = (doc, i, changes) => href("d", meta.docs.id[doc], { q: i == null ? null : meta.queries[i].id, tok: meta.tokens && i != null && meta.lists[i].tok[meta.lists[i].d.indexOf(doc)] ? "1" : null, ...changes });

  function sideBySide(i) {
    const depth = Math.min(meta.k, 20), d = meta.docs, height = 30;
    const lists = ["rn", "rd"].map((key) => listed(i, "top").filter((o) => o[key] <= depth).sort((a, b) => a[key] - b[key]));
    const column_ = (key, own, label) => el("div", null, el("h3", null, label), el("ol", { class: "ranks" }, own.map((o) =>
      el("li", null, el("a", { href: docHref(o.doc, i) }, name(clip(d.id[o.doc], 60), "code")), el("span", { class: "muted" }, key === "rn" ? `dot ${count(o.rd)}` : `normed ${count(o.rn)}`)))));
    const lines = lists[0].flatMap((o, a) => { const b = lists[1].findIndex((x) => x.doc === o.doc); return b < 0 ? [] : [[a, b]]; });
    const svg = el("svg:svg", { class: "links", viewBox: `0 0 60 ${depth * height}`, preserveAspectRatio: "none", "aria-hidden": "true" },
      lines.map(([a, b]) => el("svg:line", { x1: 0, x2: 60, y1: (a + 0.5) * height, y2: (b + 0.5) * height })));
    return el("div", null, el("p", { class: "note" }, `${count(lines.length)} of the first ${many(Math.max(lists[0].length, lists[1].length), "document")} stand in both columns; lines join them.`),
      el("div", { class: "beside-lists" }, column_("rn", lists[0], "By normed"), svg, column_("rd", lists[1], "By dot")));
  }

  // Score against rank of one query, both axes logarithmic.
  function curve(q) {
    const points = q.curve.filter(([, y]) => y > 0);
    if (points.length < 2) return el("p", { class: "note" }, "No score curve: fewer than two of the first documents have a positive score.");
    const X = points.map(([x]) => Math.log10(x)), Y = points.map(([, y]) => Math.log10(y)), W = 420, H = 180, L = 58, B = 34;
    const span = (v) => { const a = Math.min(...v), b = Math.max(...v); return b - a > 1e-9 ? [a, b] : [a - 0.5, b + 0.5]; };
    const [x0, x1] = span(X), [y0, y1] = span(Y);
    const px = (x) => L + ((x - x0) / (x1 - x0)) * (W - L - 24), py = (y) => H - B - ((y - y0) / (y1 - y0)) * (H - B - 12);
    const ticks = (a, b) => { const whole = []; for (let e = Math.ceil(a - 1e-9); e <= b + 1e-9; e++) whole.push(e); return whole.length >= 2 ? whole.filter((_, n) => n % Math.ceil(whole.length / 5) === 0) : [a, b]; };
    const said = (e) => (e >= -3 && e <= 5 ? Number((10 ** e).toPrecision(3)).toLocaleString("en-US") : minus((10 ** e).toExponential(0).replace("e+", "e")));
    const fit = q.slope ? `Slope of the first ${count(q.slope.n)}: ${minus(q.slope.alpha.toFixed(2))} ± ${q.slope.se.toFixed(2)} (R² ${q.slope.r2.toFixed(2)}).` : "No slope: fewer than three positive scores.";
    const what = meta.by.replace("_", " ");
    return el("figure", { class: "curve" }, el("svg:svg", { viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": `${what} score against rank, log-log. ${fit}` },
      ticks(x0, x1).map((e) => [el("svg:line", { class: "grid", x1: px(e), x2: px(e), y1: 12, y2: H - B }), el("svg:text", { x: px(e), y: H - B + 15, "text-anchor": "middle" }, said(e))]),
      ticks(y0, y1).map((e) => [el("svg:line", { class: "grid", x1: L, x2: W - 24, y1: py(e), y2: py(e) }), el("svg:text", { x: L - 6, y: py(e) + 4, "text-anchor": "end" }, said(e))]),
      el("svg:text", { x: W - 12, y: H - 4, "text-anchor": "end" }, "rank"),
      el("svg:polyline", { points: X.map((x, n) => `${px(x).toFixed(1)},${py(Y[n]).toFixed(1)}`).join(" ") })),
    el("figcaption", null, `${what[0].toUpperCase() + what.slice(1)} score of the documents at rank 1 to ${count(points[points.length - 1][0])}, log-log; positive scores only. ${fit} Neighbouring ranks are not independent, so ± is a lower bound.`));
  }

  function missing(node, what) {
    node.replaceChildren(title("Not in this report"), el("p", null, `There is no ${what} `, name(clip(state.id || "", 300), "code"), " here: it is not in this report."), el("p", null, el("a", { href: href("q") }, "All queries")));
  }

  // -- documents and token heat maps

  async function viewDocument(node) {
    const d = meta.docs, doc = d.id.findIndex((id) => safe(id) === safe(state.id));
    if (doc < 0) return missing(node, "document");
    const all = meta.queries.map((_, i) => i).filter((i) => meta.lists[i].d.includes(doc));
    const asked = state.values.get("q"), i = asked == null ? all[0] : meta.queries.findIndex((q) => safe(q.id) === asked);
    const at = i >= 0 ? meta.lists[i].d.indexOf(doc) : -1, l = meta.lists[i];
    const path = location.hash;
    const text = meta.texts === "none" ? null : ((await load("t-" + d.shard[doc])) || {})[doc];
    const shard = meta.tokens && at >= 0 && l.tok[at] ? await load("k-" + i) : null;
    if (location.hash !== path) return;
    const fact = (label, ...value) => el("div", null, el("dt", null, label), el("dd", null, ...value));
    const siblings = i >= 0 ? listed(i, "both") : [], place = siblings.findIndex((o) => o.doc === doc);
    const step = (o, said) => (o ? el("a", { href: docHref(o.doc, i), rel: said }, said === "prev" ? "← previous" : "next →") : null);
    node.replaceChildren(title("Document ", name(d.id[doc], "code")),
      el("p", { class: "step" }, i >= 0 ? [step(siblings[place - 1], "prev"), el("span", null, "for ", queryLink(i)), step(siblings[place + 1], "next")] : null),
      el("dl", { class: "facts" }, fact("source", name(d.source[doc])), fact("tokens", count(d.tokens[doc])), d.sha ? fact("sha256", el("code", null, d.sha[doc])) : null,
        ...(at >= 0 ? [fact("normed", sign(l.s[at]), " ", number(l.n[at])), fact("dot", number(l.s[at]), " nats"), fact("rank normed", count(l.rn[at])), fact("rank dot", count(l.rd[at]))] : [])));
    if (at < 0) node.append(el("p", { class: "note warn" }, "This document is not in the lists of that query."));
    const mark = at >= 0 ? evidence(i, doc) : [];
    for (const [part, method, found, why] of mark) node.append(el("p", { class: "found" }, el("span", { class: "badge" }, plain(part)), ` found by ${plain(method)}: `, found == null ? null : el("q", { dir: "auto" }, show(found)), why ? [" — ", el("span", { class: "muted" }, show(why))] : null));
    const label = at >= 0 && relation(i, doc);
    if (label) node.append(el("p", { class: "found" }, "Relation: ", el("strong", null, plain(label[0])), label[1] ? [" — ", el("span", { class: "muted" }, show(label[1]))] : null));
    const others = all.filter((j) => j !== i);
    const body = el("div", { class: "text full", dir: "auto", id: "text" });
    node.append(shard && shard[doc] && text != null ? heat(body, text, shard, doc, i, l.s[at]) : body);
    if (!shard) {
      if (text == null) body.append(el("span", { class: "muted" }, meta.texts === "none" ? "No texts in this report: it was made with texts=none." : show(d.snippet[doc] || "")));
      else body.append(...show(text, true));
      const why = !meta.tokens ? (meta.tokens_left_out ? "Influence per token was computed, but is left out of this report: the overview says why." : "No influence per token in this report: run `influence tokens` on the store, then write the report again.") : at >= 0 ? `Influence per token is kept for the first ${count(meta.tokens)} documents of a query.` : null;
      if (why) node.append(el("p", { class: "note" }, why));
    }
    if (text != null && d.cut[doc]) node.append(el("p", { class: "note" }, `… ${count(d.cut[doc])} more characters not in this report.`));
    node.append(el("h3", null, "Other queries that list it"), others.length ? sortable({ rows: others.map((j) => ({ j, o: meta.lists[j].d.indexOf(doc) })), what: "queries-of-document", label: "Other queries that list this document", prefix: "o", columns: [
      { key: "query", title: "query", value: (o) => meta.queries[o.j].id, draw: (o) => queryLink(o.j) },
      { key: "task", title: "task", value: (o) => meta.queries[o.j].task, draw: (o) => name(meta.queries[o.j].task) },
      { key: "rank_normed", title: "rank", unit: "normed", value: (o) => meta.lists[o.j].rn[o.o], draw: (o) => count(meta.lists[o.j].rn[o.o]), number: true },
      { key: "rank_dot", title: "rank", unit: "dot", value: (o) => meta.lists[o.j].rd[o.o], draw: (o) => count(meta.lists[o.j].rd[o.o]), number: true },
      { key: "normed", title: "normed", value: (o) => meta.lists[o.j].n[o.o], number: true },
    ] }) : el("p", { class: "note" }, "None."));
    focusTitle(node);
  }

  const level = (value, top) => Math.max(-8, Math.min(8, top > 0 ? Math.round((8 * value) / top) : 0));

  function heat(body, text, shard, doc, i, score) {
    const own = shard[doc], whole = state.values.get("scale") === "query";
    const top = whole ? Math.max(...Object.values(shard).map((t) => t.max)) : own.max;
    const code = Array.from(text), spans = [];
    const strong = own.top.map(([n]) => n);
    const status = el("p", { class: "status", id: "status", "aria-live": "polite" }, "[ and ] step through the strongest tokens.");
    const begin = meta.docs.begin[doc], part = (from, length) => code.slice(Math.max(0, from - begin), Math.max(0, from + length - begin)).join("");
    let at = 0;
    own.len.forEach((length, n) => {
      const piece = part(at, length);
      at += length;
      if (!piece) return;
      const v = (own.v[n] * own.max) / 127, step = level(v, top), order = strong.indexOf(n);
      const node = el("span", { class: `tk ${step < 0 ? "n" + -step : step ? "p" + step : "z"}`, "data-n": n, tabindex: order >= 0 ? "0" : null }, piece ? show(piece, true) : null,
        order >= 0 && order < 5 ? el("sup", { "data-order": order + 1 }) : null);
      if (order >= 0) node.addEventListener("focus", () => { status.textContent = `Token ${n + 1} of ${own.len.length}: ${number(own.top[order][1])} nats, number ${order + 1} by size; larger than ${Math.floor((100 * (own.len.length - 1 - order)) / own.len.length)} % of the tokens.`; });
      spans[n] = node;
      body.append(node);
    });
    const cells = [];
    for (let s = -8; s <= 8; s++) cells.push(el("span", { class: s < 0 ? "n" + -s : s ? "p" + s : "z" }));
    const pieceOf = (n) => { let from = 0; for (let m = 0; m < n; m++) from += own.len[m]; return part(from, own.len[n]); };
    const off = Math.abs(own.sum - score) / Math.max(Math.abs(score), 1e-30);
    return el("div", { class: "heat" },
      el("p", { class: "legend-bar" }, el("span", null, number(-top)), el("span", { class: "ramp", "aria-hidden": "true" }, cells), el("span", null, "+" + number(top)), el("span", { class: "muted" }, " nats a token; 0 in the middle")),
      el("p", { class: "tools" }, el("label", null, el("input", { type: "checkbox", id: "scale", checked: whole, change: () => put({ scale: whole ? null : "query" }) }), ` One scale for all documents of the query (largest ${number(Math.max(...Object.values(shard).map((t) => t.max)))}; this document ${number(own.max)})`)),
      body, status,
      el("p", { class: "note", id: "sum" }, `Sum of tokens = ${number(own.sum)}; document score (dot) = ${number(score)}${off > 1e-3 ? ", which differ: the tokens were computed in another precision" : ""}.`),
      el("p", { class: "note" }, "A token is marked where the computation runs: one before the token that it helps to predict. ", meta.sign),
      own.spiky > 2 / 3 ? el("p", { class: "note warn" }, `Spiky, possibly spurious: ‖tokens‖₂ / ‖tokens‖₁ = ${own.spiky.toFixed(2)}, above 2/3.`) : null,
      el("h3", null, "Strongest tokens"),
      !own.top.length ? el("p", { class: "note" }, "The influence of every token is zero.") : sortable({ rows: own.top.map(([n, v], order) => ({ n, v, order })), what: "tokens", label: "Strongest tokens", prefix: "k", said: many(own.top.length, "token"), columns: [
        { key: "order", title: "no.", value: (o) => o.order + 1, draw: (o) => count(o.order + 1), number: true },
        { key: "position", title: "position", value: (o) => o.n + 1, draw: (o) => count(o.n + 1), number: true },
        { key: "token", title: "token", value: (o) => pieceOf(o.n), draw: (o) => el("code", null, pieceOf(o.n) ? show(pieceOf(o.n)) : "(none)") },
        { key: "nats", title: "influence", unit: "nats", value: (o) => o.v, number: true },
        { key: "sign", title: "sign", value: (o) => Math.sign(o.v), draw: (o) => sign(o.v) },
      ] }));
  }

  // -- correlation

  function r(i, j, rank, part) {
    const matrix = meta.r[rank || state.rank][part || state.values.get("part") || "all"];
    if (!matrix) return null;
    const [a, b] = i < j ? [i, j] : [j, i], n = meta.queries.length;
    const value = matrix[a * n - (a * (a - 1)) / 2 + b - a];
    return value == null ? null : value / 10000;
  }

  function ordered() {
    const how = state.values.get("order") || "task";
    const seen = visible();
    if (how === "cluster" && meta.cluster) return meta.cluster.filter((i) => seen.includes(i));
    const by = how === "query" ? meta.queries.findIndex((q) => safe(q.id) === state.values.get("by")) : -1;
    return by < 0 ? seen : seen.slice().sort((a, b) => (r(by, b) ?? -2) - (r(by, a) ?? -2));
  }

  function viewCorrelation(node) {
    const list = ordered(), n = list.length, part = state.values.get("part") || "all", order = state.values.get("order") || "task";
    const choose = (key, value, options, label) => el("label", null, label + " ", el("select", { id: "pick-" + key, change: (event) => put({ [key]: event.target.value, cell: null }, true) },
      options.map(([v, t]) => el("option", { value: v, selected: v === value }, t))));
    const tools = el("p", { class: "tools" }, choose("part", part, [["all", "all scores"], ["positive", "positive scores only"], ["negative", "negative scores only"]], "R of"),
      choose("order", order, [["task", "group and task"], ...(meta.cluster ? [["cluster", "likeness (clustered)"]] : []), ["query", "R with one query"]], "Order by"),
      order === "query" ? choose("by", state.values.get("by") || "", [["", "choose"], ...list.map((i) => [safe(meta.queries[i].id), clip(plain(meta.queries[i].id), 60)])], "Query") : null);
    const parts = [tools];
    if (meta.queries.length < 2 || n < 2) parts.push(el("p", { class: "note" }, n < meta.queries.length ? "These filters leave fewer than two queries: no pair to correlate." : "There is one query, so there is no pair to correlate."));
    else if (n > GRID) parts.push(el("p", { class: "note" }, `${count(n)} queries are more than this grid shows (${GRID}). Choose groups above; the means of tasks below cover them all.`));
    else parts.push(gridTable(list));
    node.replaceChildren(...parts.flat());
    const wanted = (state.values.get("cell") || "").split("~");
    const [a, b] = wanted.map((id) => meta.queries.findIndex((q) => encode(q.id) === id));
    if (wanted.length === 2 && a >= 0 && b >= 0) panel(a, b);
  }

  const shade = (value) => (value == null ? "" : `${value >= 0 ? "pos" : "neg"}`);

  function gridTable(list) {
    const n = list.length, big = n <= 28, said = el("p", { class: "status", "aria-live": "polite" }, "Arrow keys move, Enter lists the documents that two queries share.");
    const q = (i) => meta.queries[i];
    const cells = [];
    const trs = list.map((i, a) => el("tr", { class: a && q(i).group !== q(list[a - 1]).group ? "new-group" : a && q(i).task !== q(list[a - 1]).task ? "new-task" : null },
      el("th", { scope: "row", class: `g-${["reasoning", "factual", "control"].includes(q(i).group) ? q(i).group : "other"}` }, big ? name(clip(q(i).id, 24)) : [el("span", { class: "unseen" }, plain(clip(q(i).id, 60))), !a || q(i).label !== q(list[a - 1]).label ? el("span", { class: "run", "aria-hidden": "true" }, plain(clip(q(i).label, 40))) : null]),
      list.map((j, b) => {
        const value = r(i, j);
        const td = el("td", { role: "gridcell", tabindex: "-1", "data-a": a, "data-b": b, "aria-label": `${plain(clip(q(i).id, 60))} × ${plain(clip(q(j).id, 60))}, ${i === j ? "the same query" : value == null ? "R not defined" : "R " + signed(value)}`, "aria-disabled": i === j ? "true" : null,
          class: `${i === j ? "same" : value == null ? "none" : shade(value)}${b && q(j).group !== q(list[b - 1]).group ? " new-group" : b && q(j).task !== q(list[b - 1]).task ? " new-task" : ""}` },
        el("span", { class: "glyph-sign", "aria-hidden": "true" }, i === j || value == null ? "" : value >= 0 ? "+" : "−"));
        if (i !== j && value != null) td.style.setProperty("--r", Math.abs(value).toFixed(3));
        (cells[a] = cells[a] || [])[b] = td;
        return td;
      })));
    cells[0][0].tabIndex = 0;
    let active = cells[0][0];
    const move = (a, b) => {
      active.tabIndex = -1;
      active = cells[Math.max(0, Math.min(n - 1, a))][Math.max(0, Math.min(n - 1, b))];
      active.tabIndex = 0;
      active.focus();
    };
    const open = (td) => {
      const i = list[td.dataset.a], j = list[td.dataset.b];
      if (i === j) return;
      back = () => { const again = $("grid").querySelector(`[data-a="${td.dataset.a}"][data-b="${td.dataset.b}"]`); if (again) { move_(again); } };
      history.replaceState(null, "", same({ cell: encode(q(i).id) + "~" + encode(q(j).id) }));
      state = parse();
      panel(i, j);
      $("panel").focus();
    };
    const move_ = (td) => move(Number(td.dataset.a), Number(td.dataset.b));
    const grid = el("table", { role: "grid", class: big ? "grid named" : "grid", id: "grid", "aria-label": `Pearson R of ${state.rank === "norm" ? "normed" : "dot"} scores, ${n} by ${n} queries`,
      click: (event) => { const td = event.target.closest("td"); if (td) { move_(td); open(td); } },
      focusin: (event) => { const td = event.target.closest("td"); if (td) said.textContent = td.getAttribute("aria-label"); },
      mouseover: (event) => { const td = event.target.closest("td"); if (td) said.textContent = td.getAttribute("aria-label"); },
      keydown: (event) => {
        const td = event.target.closest("td");
        if (!td || event.ctrlKey || event.altKey || event.metaKey) { if (!td || !event.ctrlKey) return; }
        const a = Number(td.dataset.a), b = Number(td.dataset.b), far = event.ctrlKey ? n : 0;
        const to = { ArrowRight: [a, b + 1], ArrowLeft: [a, b - 1], ArrowDown: [a + 1, b], ArrowUp: [a - 1, b], Home: [far ? 0 : a, 0], End: [far ? n : a, n], PageDown: [a + 10, b], PageUp: [a - 10, b] }[event.key];
        if (to) { move(...to); event.preventDefault(); event.stopPropagation(); }
        else if (event.key === "Enter" || event.key === " ") { open(td); event.preventDefault(); event.stopPropagation(); }
      } }, el("tbody", null, trs));
    grid.style.setProperty("--n", n);
    const bar = el("p", { class: "legend-bar" }, el("span", null, "−1"), el("span", { class: "ramp r", "aria-hidden": "true" }, [-1, -0.75, -0.5, -0.25, 0, 0.25, 0.5, 0.75, 1].map((v) => { const s = el("span", { class: shade(v) }); s.style.setProperty("--r", Math.abs(v)); return s; })), el("span", null, "+1"),
      el("span", { class: "muted" }, `Pearson R over all ${many(meta.documents, "document")}; the scale is fixed, the diagonal hatched`));
    const pairs = [];
    list.forEach((i, a) => list.slice(a + 1).forEach((j) => pairs.push([i, j])));
    const columns = [["a", (p) => q(p[0]).id], ["b", (p) => q(p[1]).id], ["r", (p) => r(p[0], p[1])]].map(([key, value]) => ({ key, value }));
    return [el("figure", { class: "grid-figure" }, el("div", { class: "scroll", role: "region", "aria-label": "Correlation grid" }, grid), bar, said),
      el("p", { class: "tools" }, el("button", { type: "button", class: "plainly", "data-csv": "correlation", click: () => csv("correlation", columns, pairs) }, `CSV of ${many(pairs.length, "pair")}`)), el("div", { id: "panel", tabindex: "-1", role: "region", "aria-label": "Documents that two queries share", hidden: true })];
  }

  function panel(i, j) {
    const node = $("panel");
    if (!node) return;
    const k = Math.min(SHARED, meta.k, meta.documents), key = rankKey();
    const a = inTop(i, key, k), b = inTop(j, key, k);
    const shared = [...a.keys()].filter((doc) => b.has(doc)).map((doc) => ({ doc, a: a.get(doc), b: b.get(doc) })).sort((x, y) => Math.max(x.a, x.b) - Math.max(y.a, y.b));
    const union = a.size + b.size - shared.length, value = r(i, j), d = meta.docs, expected = (k * k) / meta.documents;
    node.hidden = false;
    node.replaceChildren(el("h3", null, queryLink(i), " × ", queryLink(j)),
      el("p", null, el("strong", null, value == null ? "R is not defined" : "R " + signed(value)), ` over ${many(meta.documents, "document")}. They share ${count(shared.length)} of their top ${count(k)} by ${state.rank === "norm" ? "normed" : "dot"} (Jaccard ${union ? (shared.length / union).toFixed(2) : "0"}); by chance one would expect ${number(expected)}.`),
      shared.length ? sortable({ rows: shared, what: "shared-documents", label: "Shared documents", prefix: "s", columns: [
        { key: "rank_a", title: "rank", unit: "first query", value: (o) => o.a, draw: (o) => count(o.a), number: true },
        { key: "rank_b", title: "rank", unit: "second query", value: (o) => o.b, draw: (o) => count(o.b), number: true },
        { key: "source", title: "source", value: (o) => d.source[o.doc], draw: (o) => name(d.source[o.doc]) },
        { key: "document", title: "document", value: (o) => d.id[o.doc], draw: (o) => el("a", { href: docHref(o.doc, i) }, name(clip(d.id[o.doc], 120), "code")), cls: "id" },
        ...(meta.texts === "none" ? [] : [{ key: "text", title: "text", value: (o) => d.snippet[o.doc], draw: (o) => el("span", { dir: "auto" }, show(d.snippet[o.doc])), cls: "snippet", plain: true }]),
      ] }) : el("p", { class: "note" }, `No document stands in the top ${count(k)} of both.`),
      el("button", { type: "button", class: "plainly", click: closePanel }, "Close"));
  }

  function closePanel() {
    const node = $("panel");
    if (!node || node.hidden) return false;
    node.hidden = true;
    node.replaceChildren();
    history.replaceState(null, "", same({ cell: null }));
    state = parse();
    if (back) back();
    back = null;
    return true;
  }

  // -- figures drawn when the report was written: filters, data, CSV, SVG

  async function figures() {
    for (const figure of document.querySelectorAll("figure[data-figure]")) {
      for (const node of figure.querySelectorAll("[data-label]")) node.classList.toggle("off", !labelPasses(node.dataset.label));
      const key = figure.dataset.figure, details = figure.querySelector("details.figure-data");
      if (details && details.open) drawData(details, key);
      if (details || !$("d-f-" + key)) continue;
      const made = el("details", { class: "plain figure-data", toggle: () => made.open && drawData(made, key) }, el("summary", null, "Data"), el("div"));
      figure.append(made);
    }
  }

  async function drawData(details, key) {
    const data = await load("f-" + key);
    const at = data.columns.indexOf("label");
    const list = data.rows.filter((row) => at < 0 || labelPasses(row[at]));
    const columns = data.columns.map((title_, n) => {
      const isNumber = data.rows.some((row) => typeof row[n] === "number");
      return { key: title_, title: title_.replace(/_/g, " "), value: (row) => row[n], number: isNumber, draw: (row) => (row[n] == null ? "–" : isNumber ? number(row[n]) : name(String(row[n]))) };
    });
    const svg = details.parentNode.querySelector("svg");
    details.lastElementChild.replaceChildren(
      el("p", { class: "tools" }, svg ? el("button", { type: "button", class: "plainly", click: () => saveSvg(details.parentNode, key) }, "SVG") : null),
      sortable({ rows: list, columns, what: key, label: `Data of the figure ${key}`, prefix: "f-" + key + "-" }));
  }

  function saveSvg(figure, key) {
    figure.querySelectorAll("svg").forEach((svg, n) => {
      const copy = svg.cloneNode(true), style = getComputedStyle(figure);
      const colours = Object.fromEntries(["--line", "--muted", "--reasoning", "--factual", "--control", "--s1", "--s2", "--s3", "--s4"].map((v) => [`var(${v})`, style.getPropertyValue(v).trim()]));
      for (const node of [copy, ...copy.querySelectorAll("*")]) for (const a of ["fill", "stroke"]) {
        const value = node.getAttribute(a);
        if (value === "currentColor") node.setAttribute(a, style.color); else if (colours[value]) node.setAttribute(a, colours[value]);
      }
      save(`${key}${n ? "-" + (n + 1) : ""}.svg`, "image/svg+xml", new XMLSerializer().serializeToString(copy));
    });
  }

  // -- frame

  const VIEWS = { __proto__: null, q: viewQueries, d: viewDocument };

  function focusTitle(node) {
    const heading = node.querySelector("h2");
    if (heading && pending) { heading.setAttribute("tabindex", "-1"); heading.focus({ preventScroll: true }); scrollTo(0, 0); }
    pending = false;
  }
  let pending = false;

  function render() {
    state = parse();
    const path = state.view + "/" + (state.id ?? "");
    pending = pending || (shownPath !== null && path !== shownPath);
    if (path !== shownPath) { rows = []; cursor = -1; back = null; }
    shownPath = path;
    const drawn = state.view in VIEWS;
    const known = drawn || document.querySelector(`section[data-view="${CSS.escape(state.view)}"]:not(#app)`);
    const dynamic = drawn || !known;
    document.body.dataset.view = dynamic ? "app" : state.view;
    for (const section of document.querySelectorAll("main > section")) section.classList.toggle("on", section.dataset.view === (dynamic ? "app" : state.view));
    for (const link of document.querySelectorAll("nav a[data-to]")) {
      link.href = href(link.dataset.to, null);
      const here = link.dataset.to === state.view;
      here ? link.setAttribute("aria-current", "page") : link.removeAttribute("aria-current");
    }
    chips();
    figures();
    const node = dynamic ? $("app") : document.querySelector("section.on");
    if (!known) { state.id = state.id ?? state.view; missing(node, "view"); }
    else if (state.view === "q") state.id == null ? viewQueries(node) : viewQuery(node);
    else if (state.view === "d") { if (state.id == null) { state.id = ""; missing(node, "document"); } else { viewDocument(node); return; } }
    else if (state.view === "correlation" && $("grid-place")) viewCorrelation($("grid-place"));
    focusTitle(node);
  }

  function remember() {
    rows = [...document.querySelectorAll("#app tr[data-open]")];
    cursor = -1;
  }

  function select(step) {
    rows = rows.filter((row) => row.isConnected);
    if (!rows.length) return;
    if (cursor >= 0 && rows[cursor]) rows[cursor].removeAttribute("aria-current");
    cursor = Math.max(0, Math.min(rows.length - 1, cursor + step));
    rows[cursor].setAttribute("aria-current", "true");
    rows[cursor].scrollIntoView({ block: "nearest" });
    const link = rows[cursor].querySelector("a");
    if (link) link.focus();
  }

  function strongToken(step) {
    const strong = [...document.querySelectorAll("#text .tk[tabindex]")];
    if (!strong.length) return;
    const at = strong.indexOf(document.activeElement);
    strong[(at + step + strong.length) % strong.length].focus();
  }

  function follow(rel) {
    const link = document.querySelector(`#app .step a[rel="${rel}"]`);
    if (link) link.click();
    return Boolean(link);
  }

  const KEYS = {
    "/": () => { if (state.view === "q" && state.id == null) $("find").focus(); else { location.hash = href("q"); setTimeout(() => $("find") && $("find").focus(), 50); } },
    n: () => state.view === "q" && follow("next"), p: () => state.view === "q" && follow("prev"),
    j: () => (state.view === "d" ? follow("next") : select(1)), k: () => (state.view === "d" ? follow("prev") : select(-1)),
    t: () => { const first = document.querySelector("#text .tk[tabindex]"); if (first) first.focus(); },
    r: () => put({ rank: state.rank === "norm" ? "dot" : "norm" }), "[": () => strongToken(-1), "]": () => strongToken(1), "?": () => $("help").showModal(),
  };

  function keys(event) {
    if (event.key === "Escape") {
      if ($("help").open) return;
      if (!closePanel() && state.view === "d" && state.values.get("q")) location.hash = href("q", state.values.get("q"));
      return;
    }
    if (!keysOn || event.ctrlKey || event.altKey || event.metaKey || event.target.closest("input, select, textarea, dialog")) return;
    const action = KEYS[event.key];
    if (action) { event.preventDefault(); action(); }
  }

  function remembered(key, value) {
    try { if (value === undefined) return localStorage.getItem("influence-" + key); localStorage.setItem("influence-" + key, value); } catch { /* file:// without storage */ }
    return null;
  }

  function theme(value) {
    if (value === "auto") document.documentElement.removeAttribute("data-theme");
    else document.documentElement.setAttribute("data-theme", value);
    remembered("theme", value);
  }

  function frame() {
    const bar = $("bar"), radio = (key, label) => el("label", null, el("input", { type: "radio", name: "rank", id: "rank-" + key, value: key, change: () => put({ rank: key }) }), " " + label);
    const kept = remembered("theme") || "auto";
    bar.replaceChildren(
      el("div", { id: "chips", role: "group", "aria-label": "Show only these queries" }),
      el("div", { class: "tools" }, el("span", { id: "shown", "aria-live": "polite" }), el("button", { type: "button", id: "clear", class: "plainly", hidden: true, click: () => put({ group: null, ok: null, cell: null }) }, "Show all"),
        el("fieldset", null, el("legend", { class: "unseen" }, "Ranking"), "Rank by ", radio("norm", "normed"), radio("dot", "dot")),
        el("label", null, "Theme ", el("select", { id: "theme", change: (event) => theme(event.target.value) }, ["auto", "light", "dark"].map((t) => el("option", { selected: t === kept }, t)))),
        el("button", { type: "button", class: "plainly", id: "help-open", "aria-label": "Help and keyboard", click: () => $("help").showModal() }, "?")));
    theme(kept);
    keysOn = remembered("keys") !== "off";
    const row = ([key, said]) => el("div", null, el("dt", null, el("kbd", null, key)), el("dd", null, said));
    $("help").replaceChildren(el("h2", null, "Help"), el("p", null, meta.sign), el("p", null, "Ranks count from 1. normed compares documents; per nat compares queries. Every state of the page is in its address: copy it to share a view."),
      el("dl", { class: "keys" }, [["/", "find a query"], ["n p", "next, previous query"], ["j k", "next, previous row or document"], ["Enter", "open the row"], ["t", "to the tokens"], ["[ ]", "previous, next strong token"], ["r", "switch ranking"], ["Esc", "close, go back"], ["?", "this help"]].map(row)),
      el("p", null, el("label", null, el("input", { type: "checkbox", id: "keys", checked: keysOn, change: (event) => { keysOn = event.target.checked; remembered("keys", keysOn ? "on" : "off"); } }), " Single keys do this")),
      el("form", { method: "dialog", submit: (event) => { event.preventDefault(); $("help").close(); } }, el("button", { type: "submit", class: "plainly" }, "Close")));
    const copy = $("copy");
    if (copy) copy.append(el("button", { type: "button", class: "plainly", click: async (event) => {
      const text = $("manifest").textContent;
      try { await navigator.clipboard.writeText(text); event.target.textContent = "Copied"; } catch { save("manifest.json", "application/json", text); }
    } }, "Copy as JSON"));
    document.querySelector(".skip").addEventListener("click", (event) => { event.preventDefault(); $("main").focus(); });
    document.addEventListener("keydown", keys);
  }

  async function start() {
    if (typeof DecompressionStream === "undefined") {
      $("bar").replaceChildren(el("p", { class: "warn", role: "alert" }, "This browser cannot unpack the interactive part (it has no DecompressionStream: Chrome 80, Firefox 113 and Safari 16.4 have). What follows is the static report."));
      $("bar").hidden = false;
      return;
    }
    meta = await load("meta");
    state = parse();
    frame();
    $("bar").hidden = false;
    document.body.dataset.ready = "1";
    addEventListener("hashchange", render);
    render();
  }
  start();
})();
