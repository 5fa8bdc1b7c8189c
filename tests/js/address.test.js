// The address of a view.

import { deepStrictEqual, strictEqual } from "node:assert";
import { decode, encode, readAddress, writeAddress } from "../../influence/report/assets/address.js";

Deno.test("an address is read as it was written", () => {
  for (const id of ["q1", "a/b?c#d", "=1+1 é🙂", "100 %"]) {
    const read = readAddress(writeAddress("q", id, new URLSearchParams("rank=dot"), { end: "top" }));
    deepStrictEqual([read.view, read.id, read.values.get("rank"), read.values.get("end")], ["q", id, "dot", "top"]);
  }
});

Deno.test("nothing, or what is no address, is the overview", () => {
  for (const hash of ["", "#", "#queries", "#/"]) strictEqual(readAddress(hash).view, "overview");
  strictEqual(writeAddress("overview", null, new URLSearchParams()), "#/");
});

Deno.test("null and an empty text take a value away", () => {
  strictEqual(writeAddress("q", null, new URLSearchParams("a=1&b=2"), { a: null, b: "" }), "#/q");
});

Deno.test("lone surrogates and broken escapes do no harm", () => {
  strictEqual(encode("a\ud800"), "a%EF%BF%BD");
  strictEqual(decode("100%"), "100%");
});
