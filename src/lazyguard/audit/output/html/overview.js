// The verdicts, as numbers that filter, and their causes.

const { element, section, seconds, place } = lazyguard;

const bar = (counts, total) =>
  element("div", { class: "bar", "aria-hidden": "true" }, lazyguard.order.filter((name) => counts[name]).map((name) => {
    const part = element("span", { class: `v-${name}` });
    part.style.flexGrow = String(counts[name] / total);
    return part;
  }));

const filter = (name, count) => {
  const button = element("button", {
    type: "button",
    class: "filter",
    "aria-pressed": "false",
    "data-verdict": name,
    onclick: () => {
      const verdicts = new Set(lazyguard.wanted.verdicts);
      if (!verdicts.delete(name)) verdicts.add(name);
      lazyguard.want({ verdicts });
      const shown = lazyguard.report.modules.filter(lazyguard.isWanted).length;
      lazyguard.say(`${shown} of ${lazyguard.report.modules.length} modules are shown`);
    },
  }, element("strong", {}, String(count)), " ", lazyguard.verdict(name));
  lazyguard.onWanted(() => button.setAttribute("aria-pressed", String(lazyguard.wanted.verdicts.has(name))));
  return button;
};

const cause = (each) => {
  const blamed = lazyguard.report.modules.find((module) => module.module === each.modules[0]);
  const modules = element("p", { class: "names code" }, each.modules.join(", "));
  return element("article", { class: `cause v-${each.verdict}`, "data-verdict": each.verdict },
    element("h3", {}, lazyguard.verdict(each.verdict), " ", each.text),
    each.error ? element("p", { class: "error code" }, [each.error.type, each.error.message.trim()].filter(Boolean).join(": ")) : null,
    blamed && blamed.error && blamed.error.hint ? element("p", {}, blamed.error.hint) : null,
    blamed && blamed.detail ? element("p", {}, blamed.detail) : null,
    blamed && blamed.blame && (blamed.blame.inner || blamed.blame.leaf)
      ? element("p", {}, "where it was: ", element("span", { class: "code" },
          [blamed.blame.inner, blamed.blame.leaf].filter(Boolean).map(place).join(" -> "))) : null,
    blamed && blamed.blame ? lazyguard.chain(blamed.blame.chain) : null,
    lazyguard.source(each.place),
    each.modules.length > 6
      ? element("details", {}, element("summary", {}, `${each.modules.length} modules`), modules)
      : modules);
};

lazyguard.overview = () => {
  const { report } = lazyguard;
  const counts = {};
  for (const module of report.modules) counts[module.verdict] = (counts[module.verdict] || 0) + 1;
  const names = lazyguard.order.filter((name) => counts[name]);
  const causes = element("div", { class: "causes" }, report.causes.map(cause));
  lazyguard.onWanted(() => {
    const { verdicts } = lazyguard.wanted;
    for (const each of causes.children) each.hidden = verdicts.size > 0 && !verdicts.has(each.dataset.verdict);
  });
  const slowest = report.modules.reduce((most, module) => Math.max(most, module.seconds), 0);
  return section("overview", "Verdicts",
    element("p", { class: "lead" }, report.causes.length
      ? `${report.modules.length - (counts.ok || 0)} of ${report.modules.length} modules have ${report.causes.length} ` +
        `${report.causes.length === 1 ? "cause" : "causes"} of trouble.`
      : `All ${report.modules.length} modules are ok; the longest import took ${seconds(slowest)}.`),
    report.pending.length
      ? element("p", { class: "notice" }, `It was interrupted: ${report.pending.length} modules were not reached.`) : null,
    bar(counts, report.modules.length || 1),
    element("div", { class: "filters", role: "group", "aria-label": "Show only these verdicts" },
      names.map((name) => filter(name, counts[name]))),
    causes);
};
