// What the script takes from the browser, each by its name: a name that nothing defines is an error of the linter.

export const { document, history, getComputedStyle, matchMedia, scrollTo, CSS, XMLSerializer } = globalThis;
