// What was seen on the way, by kind; what stands against budgets; advice. Fields that a later lazyguard adds are shown too.

const { element, section, seconds, place } = lazyguard;

const MEANING = {
  connect: "connects while it is imported",
  dns: "asks for an address while it is imported",
  subprocess: "starts a process while it is imported",
  thread: "starts a thread while it is imported",
  sleep: "sleeps while it is imported",
  "file-write": "writes files while it is imported",
  "process-state": "changes what belongs to the process",
  "double-import": "is executed twice, under two names",
  "circular-import": "imports what imports it",
  "order-dependent": "works or fails by what was imported before",
  forbidden: "loads what may not be loaded",
};

// By kind, in the order in which the command tells them; each with the modules that it was seen from.
const grouped = () => {
  const kinds = new Map();
  for (const group of lazyguard.found) {
    if (!kinds.has(group.finding.kind)) kinds.set(group.finding.kind, []);
    kinds.get(group.finding.kind).push(group);
  }
  return [...kinds];
};

const one = ({ finding, modules }) => element("details", { class: "finding" },
  element("summary", {}, element("span", { class: "code" }, place(finding)), " ", finding.detail,
    element("span", { class: "calm" }, modules.length > 1 ? ` – seen from ${modules.length} modules` : ` – ${modules[0]}`)),
  lazyguard.chain(finding.chain),
  lazyguard.source(finding),
  finding.also ? element("p", {}, "and ", element("span", { class: "code" }, place(finding.also))) : null,
  finding.also ? lazyguard.source(finding.also) : null,
  modules.length > 1 ? element("p", { class: "names code" }, modules.join(", ")) : null);

lazyguard.findings = () => {
  const kinds = grouped();
  if (!kinds.length) return null;
  return section("findings", "Seen on the way", kinds.map(([kind, groups]) => element("section", { class: "kind", "data-kind": kind },
    element("h3", {}, element("span", { class: "code" }, kind), ` – ${MEANING[kind] || "found"} (${groups.length})`),
    groups.map(one))));
};

lazyguard.budgets = () => {
  const budgets = lazyguard.report.budgets || [];
  if (!budgets.length) return null;
  const text = (each, value) => (each.kind === "seconds" ? seconds(value) : String(value));
  const titles = ["module", "of", "measured", "limit", "allowance", "", "slowest"];
  return section("budgets", "Budgets", lazyguard.table("Table of the budgets", titles, budgets.map((each) =>
    element("tr", { class: each.exceeded ? "bad" : "" },
      element("th", { scope: "row", class: "code" }, each.target),
      element("td", {}, each.kind),
      element("td", { class: "number" }, each.kind === "forbid" ? "loaded" : text(each, each.measured)),
      element("td", { class: "number" }, each.kind === "forbid" ? "never" : text(each, each.limit)),
      element("td", { class: "number" }, each.kind === "forbid" ? "" : text(each, each.allowance)),
      element("td", {}, each.exceeded ? "exceeded" : "kept"),
      element("td", { class: "code" }, (each.largest || []).join(", "), each.place ? ` ${place(each.place)}` : "")))));
};

// Whatever form advice has: objects become lists of what they say.
const shown = (value) => {
  if (value === null || value === undefined) return element("span", { class: "calm" }, "–");
  if (Array.isArray(value)) {
    if (value.every((each) => typeof each !== "object")) return element("span", {}, value.join(", "));
    return element("div", {}, value.map(shown));
  }
  if (typeof value !== "object") {
    const text = String(value);
    return text.includes("\n") ? element("pre", { class: "source" }, text) : element("span", {}, text);
  }
  return element("dl", {}, Object.entries(value).flatMap(([key, each]) => [
    element("dt", {}, key.replaceAll("_", " ")),
    element("dd", {}, key.endsWith("seconds") && typeof each === "number" ? seconds(each) : shown(each)),
  ]));
};

lazyguard.advice = () => {
  const { advice } = lazyguard.report;
  if (!advice || (Array.isArray(advice) && !advice.length)) return null;
  return section("advice", "Advice", shown(advice));
};
