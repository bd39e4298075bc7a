// All modules as a table that can be sorted and searched; a module's name opens its tree of imports.

const { element, section, seconds, place } = lazyguard;

const rank = (module) => lazyguard.order.indexOf(module.verdict);
const earlier = new Map((lazyguard.before ? lazyguard.before.modules : []).map((module) => [module.module, module]));

const columns = [
  { title: "module", key: (module) => module.module },
  { title: "verdict", key: rank },
  { title: "total", key: (module) => module.seconds, number: true, down: true },
  { title: "own", key: (module) => module.own_seconds, number: true, down: true },
  { title: "3rd party", key: (module) => module.third_party_seconds, number: true, down: true },
];
if (lazyguard.report.modules.some((module) => module.executed)) {
  columns.push({ title: "executed", key: (module) => module.executed, number: true, down: true, text: (value) => String(value) });
}
if (lazyguard.report.modules.some((module) => module.memory !== null)) {
  columns.push({
    title: "peak MB", key: (module) => (module.memory === null ? -1 : module.memory), number: true, down: true,
    text: (value) => (value < 0 ? "–" : (value / 1048576).toFixed(1)),
  });
}
if (lazyguard.before) {
  columns.push({
    title: "before", number: true, down: true,
    key: (module) => (earlier.has(module.module) ? earlier.get(module.module).seconds : -1),
    text: (value) => (value < 0 ? "–" : seconds(value)),
  });
}
columns.push({ title: "where", key: (module) => place(module.blame) });

lazyguard.modules = () => {
  const { report } = lazyguard;
  const longest = report.modules.reduce((most, module) => Math.max(most, module.seconds), 1e-9);
  const body = element("tbody");
  const rows = new Map();
  let order = { column: columns[1], down: false };

  const cell = (module, column, at) => {
    const value = column.key(module);
    if (at === 0) {
      return element("th", { scope: "row" }, element("button", {
        type: "button", class: "open code", title: "Show the tree of its imports",
        onclick: () => lazyguard.openTree(module.module),
      }, module.module));
    }
    if (at === 1) return element("td", {}, lazyguard.verdict(module.verdict));
    if (!column.number) return element("td", { class: "code where" }, value);
    // As the table of the command has it: what forks decided has times that were put together.
    const about = module.tier === "forked" && !column.text ? "~" : "";
    const shown = element("td", { class: "number" }, about + (column.text || seconds)(value));
    if (column.title === "total") {
      const size = element("span", { class: "size", "aria-hidden": "true" });
      size.style.width = `${(100 * value) / longest}%`;
      shown.append(size);
    }
    return shown;
  };
  for (const module of report.modules) {
    rows.set(module, element("tr", { "data-verdict": module.verdict, "data-module": module.module },
      columns.map((column, at) => cell(module, column, at))));
  }

  const draw = () => {
    const { column, down } = order;
    const sorted = [...report.modules].sort((one, two) => {
      const [a, b] = [column.key(one), column.key(two)];
      const found = typeof a === "string" ? a.localeCompare(b) : a - b;
      return (down ? -found : found) || two.seconds - one.seconds || one.module.localeCompare(two.module);
    });
    body.replaceChildren(...sorted.filter(lazyguard.isWanted).map((module) => rows.get(module)));
    for (const [at, each] of columns.entries()) {
      heads[at].setAttribute("aria-sort", each !== column ? "none" : down ? "descending" : "ascending");
    }
    none.hidden = body.children.length > 0;
  };
  const heads = columns.map((column) => element("th", { scope: "col", class: column.number ? "number" : "" },
    element("button", {
      type: "button", class: "sort",
      onclick: () => {
        order = { column, down: order.column === column ? !order.down : Boolean(column.down) };
        draw();
      },
    }, column.title)));
  const none = element("p", { class: "calm", hidden: true }, "No module is like that.");
  const search = element("input", {
    type: "search", id: "search", placeholder: "name of a module", autocomplete: "off", spellcheck: "false",
    oninput: (event) => lazyguard.want({ text: event.target.value.trim().toLowerCase() }),
  });
  lazyguard.onWanted(draw);
  draw();
  return section("modules", "Modules",
    element("div", { class: "tools" }, element("label", { for: "search" }, "Search "), search),
    element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Table of the modules" },
      element("table", {}, element("caption", { class: "unseen" }, "Every audited module, its verdict and its seconds"),
        element("thead", {}, element("tr", {}, heads)), body)),
    none);
};
