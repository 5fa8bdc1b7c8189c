// Labels that a reader gives to documents of a query, as lines of JSON. Nothing here touches the page.

export const LABELS = ["relevant", "procedure", "answer", "wrong", "own"]; // own: the reader's own words

const pairKey = (query, doc) => JSON.stringify([query, doc]);

// Labels by query and document; each is {query, document, label, note}. To give null takes a label away; to read the
// lines of a file adds its labels, and returns how many lines are none.
export class LabelSet {
  all = new Map();

  of(query, doc) {
    return this.all.get(pairKey(query, doc)) || null;
  }

  give(query, doc, label, note = "") {
    label === null
      ? this.all.delete(pairKey(query, doc))
      : this.all.set(pairKey(query, doc), { query, document: doc, label, note });
  }

  lines() {
    return [...this.all.values()].map((label) => JSON.stringify(label) + "\n").join("");
  }

  read(text) {
    let wrong = 0;
    for (const line of text.split("\n").filter((own) => own.trim())) {
      try {
        const { query, document: doc, label, note } = JSON.parse(line);
        if (typeof query !== "string" || typeof doc !== "string" || !LABELS.includes(label)) throw new TypeError(line);
        this.give(query, doc, label, typeof note === "string" ? note : "");
      } catch {
        wrong += 1;
      }
    }
    return wrong;
  }
}
