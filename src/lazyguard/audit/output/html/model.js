// What the page was given, and the state that all parts of it share: which modules are wanted.

const { element } = lazyguard;
const data = JSON.parse(document.getElementById("data").textContent);

lazyguard.report = data.report;
lazyguard.before = data.before;
lazyguard.sources = data.sources;
lazyguard.found = data.findings;
lazyguard.order = ["hangs", "crashes", "exits", "fails", "cannot-exit", "leaves-children", "slow", "not-installed", "other-platform", "ok"];

const COLUMNS = 9;
// The executed modules of one audited module, in the order in which they began. Made when first asked for.
lazyguard.imports = (report, module) => {
  if (module.rows) return module.rows;
  const { imports } = module;
  const rows = [];
  for (let at = 0; at < imports.length; at += COLUMNS) {
    const text = (number) => (number < 0 ? "" : report.strings[number]);
    const line = imports[at + 8];
    const parent = imports[at + 1] < 0 ? null : rows[imports[at + 1]];
    rows.push({
      name: report.strings[imports[at]],
      parent,
      depth: parent ? parent.depth + 1 : 0,
      start: imports[at + 2] / 1e6,
      seconds: imports[at + 3] / 1e6,
      own: imports[at + 4] / 1e6,
      first: (imports[at + 5] & 1) !== 0,
      failed: (imports[at + 5] & 2) !== 0,
      file: text(imports[at + 6]),
      by: text(imports[at + 7]) + (line < 0 ? "" : `:${line}`),
    });
  }
  module.rows = rows;
  return rows;
};

// The filters. Whoever shows modules listens.
const listeners = [];
lazyguard.wanted = { verdicts: new Set(), text: "" };
lazyguard.onWanted = (listener) => listeners.push(listener);
lazyguard.want = (change) => {
  Object.assign(lazyguard.wanted, change);
  for (const listener of listeners) listener();
};
lazyguard.isWanted = (module) => {
  const { verdicts, text } = lazyguard.wanted;
  if (verdicts.size && !verdicts.has(module.verdict)) return false;
  return !text || module.module.toLowerCase().includes(text);
};

// The lines around a place, the place itself marked.
lazyguard.source = (place) => {
  const lines = place && place.line ? lazyguard.sources[place.file] : undefined;
  if (!lines || lines[place.line] === undefined) return null;
  const shown = [];
  for (let line = place.line - 3; line <= place.line + 3; line += 1) {
    if (lines[line] === undefined) continue;
    const here = line === place.line;
    shown.push(element("div", { class: here ? "line here" : "line" },
      element("span", { class: "number", "aria-hidden": "true" }, String(line)),
      here ? element("mark", {}, lines[line] || " ") : lines[line] || " "));
  }
  return element("pre", { class: "source", tabindex: "0", "aria-label": `Source of ${lazyguard.place(place)}` }, shown);
};

lazyguard.chain = (chain) =>
  chain && chain.length > 1
    ? element("p", { class: "chain" }, "imported by ", element("span", { class: "code" }, chain.join(" → ")))
    : null;
