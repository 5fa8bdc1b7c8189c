// Text and numbers as a page shows them. Nothing here touches the page, so that it can be tested alone.

// Characters that show nothing or reorder others: what `report.text` names in the static part.
const HIDDEN =
  /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\p{NChar}\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0\u{e0100}-\u{e01ef}]/u;

// A text in pieces: [hidden, piece]. A hidden piece names a character that shows nothing; with `lines`, line feeds and
// tabs stay what they are.
export function pieces(text, lines) {
  const parts = [];
  let run = "";
  for (const c of lines ? text.replace(/\r\n/g, "\n") : text) {
    if (HIDDEN.test(c) && !(lines && (c === "\n" || c === "\t"))) {
      if (run) parts.push([false, run]);
      parts.push([true, "U+" + c.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")]);
      run = "";
    } else run += c;
  }
  if (run) parts.push([false, run]);
  return parts;
}

export const clip = (text, n) => (text.length > n ? text.slice(0, n - 1) + "…" : text);
export const plain = (text) => pieces(text).map(([hidden, piece]) => (hidden ? `⟨${piece}⟩` : piece)).join("");

// A token with its blanks and line breaks to be seen.
export const blanks = (text) => text.replace(/ /g, "␣").replace(/\r?\n/g, "↵").replace(/\t/g, "⇥");

export const minus = (text) => text.replace(/-/g, "−");
export const count = (n) => minus(Math.round(n).toLocaleString("en-US"));
export const many = (n, one) => `${count(n)} ${n === 1 ? one : one.replace(/y$/, "ie") + "s"}`;
export const some = (n, of, one) => (n < of ? `${count(n)} of ` : "") + many(of, one);
export function signed(value, digits = 2) {
  if (value == null) return "not defined";
  const text = value.toFixed(digits);
  return Number(text) === 0 ? text.replace("-", "") : (value > 0 ? "+" : "") + minus(text);
}

// Numbers of a column: four significant digits of the largest; what is too small for them in scientific notation.
export function column(values) {
  const largest = Math.max(0, ...values.filter(Number.isFinite).map(Math.abs));
  const exponent = largest ? Math.floor(Math.log10(largest)) : 0;
  const digits = Math.max(0, 3 - exponent);
  return values.map((v) => {
    if (!Number.isFinite(v)) return "not defined";
    if (v === 0) return "0";
    if (exponent < -4 || exponent > 6 || Math.abs(v) < 0.5 * 10 ** -digits) {
      return minus(v.toExponential(3).replace("e+", "e"));
    }
    return minus(v.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits }));
  });
}
export const number = (v) => column([v])[0];
