// Making elements. What the audited program has named or printed only ever becomes text here, never markup.

const lazyguard = (window.lazyguard = {});

// element("p", { class: "calm", onclick: f }, "text", other) – properties that begin with "on" are listeners.
lazyguard.element = (name, properties = {}, ...children) => {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else made.setAttribute(key, value === true ? "" : String(value));
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return made;
};

lazyguard.section = (id, title, ...children) =>
  lazyguard.element("section", { id, "aria-labelledby": `${id}-title`, tabindex: "-1" },
    lazyguard.element("h2", { id: `${id}-title` }, title), ...children);

// Three digits that count, with the unit that makes them readable.
lazyguard.seconds = (value) => {
  if (value === null || value === undefined) return "–";
  if (value >= 100) return `${value.toFixed(0)} s`;
  if (value >= 1) return `${value.toPrecision(3)} s`;
  if (value >= 0.0995) return `${(value * 1000).toFixed(0)} ms`;
  if (value >= 0.00095) return `${(value * 1000).toPrecision(value >= 0.00995 ? 3 : 2)} ms`;
  return `${Math.round(value * 1e6)} µs`;
};

// A table that scrolls by itself, and is reached by keyboard for that.
lazyguard.table = (label, titles, rows, name = null) =>
  lazyguard.element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": label },
    lazyguard.element("table", { class: name },
      lazyguard.element("thead", {}, lazyguard.element("tr", {}, titles.map((title) => lazyguard.element("th", { scope: "col" }, title)))),
      lazyguard.element("tbody", {}, rows)));

// Seconds of before and after as bars, one below the other; null where there are none.
lazyguard.bars = (before, after, most) => {
  const bar = (value, which) => {
    const drawn = lazyguard.element("span", { class: `compared ${which}`, "aria-hidden": "true" });
    drawn.style.width = `${value === null ? 0 : Math.max(0.3, (100 * value) / most)}%`;
    return drawn;
  };
  return lazyguard.element("td", { class: "bars" }, bar(before, "old"), bar(after, "new"));
};

lazyguard.place = (place) => (place ? (place.line ? `${place.file}:${place.line}` : place.file) : "");

lazyguard.say = (text) => {
  document.getElementById("said").textContent = text;
};

lazyguard.verdict = (name) => lazyguard.element("span", { class: `verdict v-${name}` }, name);
