// Another state of the program that was measured by turns with this one: what became slower, what is undecided.

const { element, section, seconds, place } = lazyguard;

const factor = ({ before, after }) => (before > 0 ? `${(after / before).toFixed(2)}x` : "was ~0");

// The imports and bodies that the time went into, and the line that asked for the slowest.
const why = (each) => {
  const parts = [];
  if (each.new.length) parts.push(`new: ${each.new.join(", ")}`);
  if (each.grown.length) parts.push(`longer than there: ${each.grown.join(", ")}`);
  if (!parts.length) return null;
  return element("details", { class: "finding", open: true, "data-module": each.module },
    element("summary", {}, element("span", { class: "code" }, each.module), ` – ${parts.join("; ")}`,
      each.place ? [" at ", element("span", { class: "code" }, place(each.place))] : null),
    lazyguard.chain(each.chain),
    lazyguard.source(each.place));
};

lazyguard.against = () => {
  const { against, uncompiled } = lazyguard.report;
  if (!against) return null;
  const { path, modules, slower, left } = against;
  const most = Math.max(1e-9, ...slower.flatMap((each) => [each.before, each.after]));
  return section("against", "Beside another state",
    element("p", { class: "lead" },
      slower.length ? `${slower.length} of ${modules} modules became slower than in ` : left.length
        ? `Of ${modules} modules none is known to have become slower than in `
        : `None of ${modules} modules became slower than in `,
      element("span", { class: "code" }, path), left.length ? `; undecided: ${left.length}.` : "."),
    uncompiled !== against.uncompiled
      ? element("p", { class: "notice" }, `${against.uncompiled} sources there have no byte code, ${uncompiled} here: times have the compiler's in them.`)
      : null,
    slower.length ? lazyguard.table("Modules that became slower", ["module", "there", "here", "factor", ""],
      slower.map((each) => element("tr", {},
        element("th", { scope: "row", class: "code" }, each.module),
        element("td", { class: "number" }, seconds(each.before)),
        element("td", { class: "number" }, seconds(each.after)),
        element("td", { class: "number" }, factor(each)),
        lazyguard.bars(each.before, each.after, most))), "two") : null,
    slower.map(why),
    left.length ? element("details", { "data-group": "left" },
      element("summary", {}, `Not known (${left.length})`),
      element("p", { class: "calm" }, "They looked slower, but the machine was too busy for two measurements that agree, or slower ones had been found before."),
      element("p", { class: "names code" }, left.join(", "))) : null);
};
