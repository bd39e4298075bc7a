// The rows of the waterfall and the stretch of time that is shown: what is open, found and zoomed to. Draws nothing.

lazyguard.timeline = () => {
  const { report } = lazyguard;
  const closed = new Set();
  const opened = new Set();
  let chosen = null;
  let text = "";
  let stretch = null;

  const roots = () => {
    const wanted = chosen === null ? report.modules : report.modules.filter((module) => module.module === chosen);
    return [...wanted].sort((one, two) => two.seconds - one.seconds);
  };
  const root = (module) => ({
    key: module, module, name: module.module, depth: 0, start: 0, seconds: module.seconds, own: module.own_seconds,
    first: true, failed: module.verdict === "fails", verdict: module.verdict, root: true,
    children: module.imports.length > 0, file: "", by: "",
  });
  const isOpen = (row) => (row.root && chosen === null ? opened.has(row.key) : !closed.has(row.key));

  // What a search finds, and all that leads there.
  const found = (rows) => {
    const kept = new Set();
    for (const row of rows) {
      if (!row.name.toLowerCase().includes(text)) continue;
      for (let each = row; each && !kept.has(each); each = each.parent) kept.add(each);
    }
    return kept;
  };

  const below = (module, shown) => {
    const rows = lazyguard.imports(report, module);
    const kept = text ? found(rows) : null;
    const parents = new Set(rows.map((row) => row.parent));
    for (const row of rows) {
      row.key = row;
      row.children = parents.has(row);
      row.hit = Boolean(text) && row.name.toLowerCase().includes(text);
      row.within = row.parent === null || (row.parent.within && (Boolean(text) || !closed.has(row.parent)));
      if (!row.within || (kept && !kept.has(row))) continue;
      shown.push(row);
    }
  };

  const lines = () => {
    const shown = [];
    for (const module of roots()) {
      const row = root(module);
      row.hit = Boolean(text) && row.name.toLowerCase().includes(text);
      const inside = [];
      if (text || isOpen(row)) below(module, inside);
      if (text && !row.hit && !inside.length) continue;
      shown.push(row);
      if (isOpen(row) || (text && inside.length)) for (const each of inside) shown.push(each);
    }
    return shown;
  };

  const whole = () => [0, Math.max(1e-6, ...roots().map((module) => module.seconds))];
  return {
    lines,
    get stretch() {
      return stretch || whole();
    },
    get zoomed() {
      return stretch !== null;
    },
    get chosen() {
      return chosen;
    },
    isOpen,
    choose(name) {
      chosen = name;
      stretch = null;
    },
    search(words) {
      text = words;
    },
    toggle(row, open) {
      const now = isOpen(row);
      if (now === (open === undefined ? !now : open)) return;
      const set = row.root && chosen === null ? opened : closed;
      if (!set.delete(row.key)) set.add(row.key);
    },
    // Shows `factor` times as much time as now, `middle` staying where it is.
    zoom(factor, middle) {
      const [from, to] = stretch || whole();
      const [least, most] = whole();
      const size = Math.min(most - least, Math.max(2e-6, (to - from) * factor));
      const start = Math.min(most - size, Math.max(least, middle - ((middle - from) / (to - from)) * size));
      stretch = size >= most - least ? null : [start, start + size];
    },
    show(from, to) {
      const [least, most] = whole();
      const size = Math.max(2e-6, Math.min(to, most) - Math.max(from, least));
      stretch = size >= most - least ? null : [Math.max(from, least), Math.max(from, least) + size];
    },
    move(share) {
      if (!stretch) return;
      const [least, most] = whole();
      const size = stretch[1] - stretch[0];
      const start = Math.min(most - size, Math.max(least, stretch[0] + share * size));
      stretch = [start, start + size];
    },
    reset() {
      stretch = null;
    },
  };
};
