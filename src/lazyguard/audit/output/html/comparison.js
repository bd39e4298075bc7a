// Two audits side by side: what was mended, what broke, what became faster or slower.

const { element, section, seconds } = lazyguard;

const WORTH = 0.002; // seconds and a tenth of the time: less is noise

const kind = (before, after) => {
  if (!before) return "new";
  if (!after) return "gone";
  const bad = (module) => module.verdict !== "ok";
  if (bad(before) && !bad(after)) return "mended";
  if (!bad(before) && bad(after)) return "broken";
  const difference = after.seconds - before.seconds;
  if (Math.abs(difference) < Math.max(WORTH, before.seconds / 10)) return "same";
  return difference < 0 ? "faster" : "slower";
};
const TITLES = {
  broken: "Broken", slower: "Slower", mended: "Mended", faster: "Faster", new: "Not there before", gone: "No longer there",
  same: "As before",
};

lazyguard.comparison = () => {
  const { before, report } = lazyguard;
  if (!before) return null;
  const old = new Map(before.modules.map((module) => [module.module, module]));
  const now = new Map(report.modules.map((module) => [module.module, module]));
  const groups = new Map();
  for (const name of new Set([...now.keys(), ...old.keys()])) {
    const [one, two] = [old.get(name), now.get(name)];
    const which = kind(one, two);
    if (!groups.has(which)) groups.set(which, []);
    groups.get(which).push([name, one, two]);
  }
  const most = Math.max(1e-9, ...[...old.values(), ...now.values()].map((module) => module.seconds));
  const cells = (module) => module
    ? [element("td", {}, lazyguard.verdict(module.verdict)), element("td", { class: "number" }, seconds(module.seconds))]
    : [element("td", { class: "calm" }, "–"), element("td", { class: "number" }, "–")];
  const took = (module) => (module ? module.seconds : null);
  const table = (rows) => lazyguard.table("Before and after", ["module", "before", "", "after", "", ""],
    rows.sort((one, two) => one[0].localeCompare(two[0])).map(([name, one, two]) => element("tr", {},
      element("th", { scope: "row", class: "code" }, name), cells(one), cells(two),
      lazyguard.bars(took(one), took(two), most))), "two");
  // What was seen on the way then and is no longer, and the other way round; lines move, so they do not count.
  const seen = (of) => {
    const found = new Map();
    for (const module of of.modules) {
      for (const each of module.findings) found.set(`${each.kind} ${each.file} ${each.detail}`, each);
    }
    return found;
  };
  const [then, today] = [seen(before), seen(report)];
  const findings = (title, of, other) => {
    const left = [...of].filter(([key]) => !other.has(key)).map(([, each]) => each);
    return left.length ? element("details", { "data-group": title },
      element("summary", {}, `${title} (${left.length})`),
      element("ul", {}, left.map((each) => element("li", { class: "code" }, `${each.kind} ${lazyguard.place(each)} ${each.detail}`)))) : null;
  };
  const order = Object.keys(TITLES).filter((which) => groups.has(which));
  return section("comparison", "Before and after",
    element("p", { class: "lead" }, order.map((which) => `${groups.get(which).length} ${TITLES[which].toLowerCase()}`).join(", ")),
    order.map((which) => element("details", { open: which !== "same", "data-group": which },
      element("summary", {}, `${TITLES[which]} (${groups.get(which).length})`), table(groups.get(which)))),
    findings("Findings that are new", today, then), findings("Findings that are gone", then, today));
};
