// Text and numbers as a page shows them; the same oracles as tests/unit/test_report.py has for the static part.

import { deepStrictEqual, strictEqual } from "node:assert";
import {
  blanks,
  clip,
  column,
  count,
  many,
  number,
  pieces,
  plain,
  signed,
} from "../../influence/report/assets/words.js";

Deno.test("numbers of a column have four significant digits of the largest", () => {
  deepStrictEqual(column([12.3456, -0.5, 0]), ["12.35", "−0.50", "0"]);
  deepStrictEqual(column([1234567, 1]), ["1,234,567", "1"]);
  deepStrictEqual(column([1e-9, -2.5e-9]), ["1.000e−9", "−2.500e−9"]);
  deepStrictEqual(column([NaN, 1]), ["not defined", "1.000"]);
  strictEqual(number(11.809), "11.81");
});

Deno.test("a value too small for the decimals of its column is never shown as zero", () => {
  deepStrictEqual(column([100, 1e-5]), ["100.0", "1.000e−5"]);
});

Deno.test("R has its sign, zero has none", () => {
  deepStrictEqual([0.123, -0.5, -0.001, null].map((r) => signed(r)), ["+0.12", "−0.50", "0.00", "not defined"]);
});

Deno.test("counts and their nouns", () => {
  strictEqual(count(-1234567), "−1,234,567");
  deepStrictEqual([many(1, "query"), many(2, "query"), many(0, "row")], ["1 query", "2 queries", "0 rows"]);
});

Deno.test("what shows nothing is named", () => {
  strictEqual(
    plain("a\u202eb\x00\n\ud800\u3164é\u00a0🙂"),
    "a⟨U+202E⟩b⟨U+0000⟩⟨U+000A⟩⟨U+D800⟩⟨U+3164⟩é\u00a0🙂",
  );
  deepStrictEqual(pieces("a\r\nb\tc\r", true), [[false, "a\nb\tc"], [true, "U+000D"]]);
  strictEqual(clip("abcdef", 4), "abc…");
});

Deno.test("blanks and line breaks of a token can be seen", () => {
  strictEqual(blanks(" a\r\n\tb\n"), "␣a↵⇥b↵");
});
