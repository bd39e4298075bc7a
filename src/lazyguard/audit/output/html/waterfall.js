// The tree of imports over time. Only the rows in sight are in the document, so that ten thousand scroll like ten.

const { element, section, seconds } = lazyguard;

const ROW = 24;
const SPARE = 8; // rows drawn above and below what is in sight
const STEPS = [1, 2, 5];

// Lines at round times, as many as there is room for.
const marks = (from, to, width) => {
  const rough = (to - from) / Math.min(6, Math.max(1, width / 80));
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * (STEPS.find((each) => each * power >= rough) || 10);
  const found = [];
  for (let at = Math.ceil(from / step) * step; at <= to; at += step) found.push(at);
  return found;
};

lazyguard.waterfall = () => {
  const time = lazyguard.timeline();
  let lines = [];
  let active = 0;
  let frame = 0;

  const choice = element("select", { id: "tree-of", onchange: () => { time.choose(choice.value || null); fresh(); } },
    element("option", { value: "" }, "all modules, the longest first"),
    lazyguard.report.modules.map((module) => element("option", { value: module.module }, module.module)));
  const search = element("input", {
    type: "search", id: "tree-search", placeholder: "name of a module", autocomplete: "off", spellcheck: "false",
    oninput: () => { time.search(search.value.trim().toLowerCase()); fresh(); },
  });
  const tool = (label, title, act) =>
    element("button", { type: "button", title, "aria-label": title, onclick: () => { act(); draw(); } }, label);
  const middle = () => (time.stretch[0] + time.stretch[1]) / 2;
  const tools = element("div", { class: "tools" },
    element("label", { for: "tree-of" }, "Imports of "), choice,
    element("label", { for: "tree-search" }, "Search "), search,
    element("span", { class: "buttons", role: "group", "aria-label": "Zoom" },
      tool("+", "Zoom in", () => time.zoom(0.5, middle())),
      tool("−", "Zoom out", () => time.zoom(2, middle())),
      tool("←", "Earlier", () => time.move(-0.5)),
      tool("→", "Later", () => time.move(0.5)),
      tool("whole", "Show all of the time", () => time.reset())));

  const ruler = element("div", { class: "ruler", "aria-hidden": "true", title: "Drag to zoom to a stretch of time" });
  const rows = element("div", { class: "rows" });
  const grid = element("div", { class: "grid", "aria-hidden": "true" });
  const space = element("div", { class: "space" }, grid, rows);
  const pane = element("div", {
    class: "pane", role: "tree", tabindex: "0", id: "tree",
    "aria-label": "Imports over time. Up and down choose, left and right close and open, plus and minus zoom, shift with left and right moves in time, 0 shows all.",
  }, space);
  const detail = element("p", { class: "detail", id: "tree-detail" });

  const share = (at) => { const [from, to] = time.stretch; return ((at - from) / (to - from)) * 100; };

  const line = (row, at) => {
    const name = element("span", { class: "name" },
      element("span", { class: "twist", "aria-hidden": "true" }, row.children ? (time.isOpen(row) ? "▾" : "▸") : ""),
      row.root && row.verdict !== "ok" ? [lazyguard.verdict(row.verdict), " "] : null, row.name);
    name.style.paddingInlineStart = `${(row.root ? 0 : row.depth + 1) * 12 + 4}px`;
    const [left, right] = [share(row.start), share(row.start + row.seconds)];
    const span = element("span", { class: "track" });
    if (right >= 0 && left <= 100) {
      const drawn = element("span", { class: `span ${row.first ? "first" : "third"}${row.failed ? " failed" : ""}` });
      drawn.style.left = `${Math.max(0, left)}%`;
      drawn.style.width = `${Math.min(100, right) - Math.max(0, left)}%`;
      const text = element("span", { class: "took" }, seconds(row.seconds));
      // Where there is no room behind the bar it stands in it, or before it.
      if (right <= 85) text.style.left = `${Math.max(0, right) + 0.5}%`;
      else if (Math.min(100, right) - Math.max(0, left) > 15) {
        text.classList.add("inside");
        text.style.right = `${100 - Math.min(100, right) + 0.5}%`;
      } else text.style.right = `${100 - Math.max(0, left) + 0.5}%`;
      span.append(drawn, text);
    }
    const made = element("div", {
      class: `row${at === active ? " active" : ""}${row.hit ? " hit" : ""}`, role: "treeitem", id: `row-${at}`,
      "aria-level": row.root ? 1 : row.depth + 2, "aria-selected": String(at === active),
      "aria-expanded": row.children ? String(time.isOpen(row)) : null,
      "aria-label": `${row.name}, ${seconds(row.seconds)}, own ${seconds(row.own)}`,
    }, name, span);
    made.style.top = `${at * ROW}px`;
    return made;
  };

  const tell = () => {
    const row = lines[active];
    detail.replaceChildren();
    if (!row) return;
    const facts = [`${seconds(row.seconds)} in all, ${seconds(row.own)} its own body`];
    if (!row.root) facts.push(`began after ${seconds(row.start)}`, row.first ? "of the program" : "third party");
    if (row.failed) facts.push("failed");
    if (row.by) facts.push(`asked for by ${row.by}`);
    if (row.file) facts.push(row.file);
    detail.append(element("strong", { class: "code" }, row.name), ` – ${facts.join("; ")}`);
  };

  const draw = () => {
    frame = 0;
    const first = Math.max(0, Math.floor(pane.scrollTop / ROW) - SPARE);
    const last = Math.min(lines.length, Math.ceil((pane.scrollTop + pane.clientHeight) / ROW) + SPARE);
    const drawn = [];
    for (let at = first; at < last; at += 1) drawn.push(line(lines[at], at));
    rows.replaceChildren(...drawn);
    if (lines.length && active >= first && active < last) pane.setAttribute("aria-activedescendant", `row-${active}`);
    else pane.removeAttribute("aria-activedescendant");
    const [from, to] = time.stretch;
    const ticks = marks(from, to, ruler.clientWidth);
    ruler.replaceChildren(...ticks.map((at) => {
      const tick = element("span", { class: "tick" }, at === 0 ? "0" : seconds(at));
      tick.style.left = `${share(at)}%`;
      return tick;
    }));
    grid.replaceChildren(...ticks.map((at) => {
      const tick = element("span", { class: "tick" });
      tick.style.left = `${share(at)}%`;
      return tick;
    }));
    tell();
  };
  const soon = () => { if (!frame) frame = requestAnimationFrame(draw); };
  const fresh = () => {
    lines = time.lines();
    active = Math.max(0, Math.min(active, lines.length - 1));
    space.style.height = `${lines.length * ROW}px`;
    none.hidden = lines.length > 0;
    draw();
  };
  const go = (at) => {
    active = Math.max(0, Math.min(lines.length - 1, at));
    const top = active * ROW;
    if (top < pane.scrollTop) pane.scrollTop = top;
    else if (top + ROW > pane.scrollTop + pane.clientHeight) pane.scrollTop = top + ROW - pane.clientHeight;
    draw();
  };
  const parent = (at) => {
    const level = (row) => (row.root ? -1 : row.depth);
    let found = at;
    while (found > 0 && level(lines[found]) >= level(lines[at])) found -= 1;
    return found;
  };

  const keys = {
    ArrowDown: () => go(active + 1),
    ArrowUp: () => go(active - 1),
    PageDown: () => go(active + Math.floor(pane.clientHeight / ROW)),
    PageUp: () => go(active - Math.floor(pane.clientHeight / ROW)),
    Home: () => go(0),
    End: () => go(lines.length - 1),
    Enter: () => { time.toggle(lines[active]); fresh(); },
    " ": () => { time.toggle(lines[active]); fresh(); },
    ArrowRight: () => {
      if (lines[active].children && !time.isOpen(lines[active])) { time.toggle(lines[active], true); fresh(); }
      else go(active + 1);
    },
    ArrowLeft: () => {
      if (lines[active].children && time.isOpen(lines[active])) { time.toggle(lines[active], false); fresh(); }
      else go(parent(active));
    },
    "+": () => { time.zoom(0.5, centre()); draw(); },
    "=": () => { time.zoom(0.5, centre()); draw(); },
    "-": () => { time.zoom(2, centre()); draw(); },
    0: () => { time.reset(); draw(); },
    z: () => { const row = lines[active]; time.show(row.start, row.start + row.seconds); draw(); },
  };
  // Zooming keeps the chosen row in sight.
  const centre = () => {
    const row = lines[active];
    const [from, to] = time.stretch;
    const at = row.start + row.seconds / 2;
    return at >= from && at <= to ? at : middle();
  };
  pane.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !lines.length) return;
    const moves = { ArrowLeft: -0.25, ArrowRight: 0.25 };
    if (event.shiftKey && moves[event.key]) { time.move(moves[event.key]); draw(); }
    else if (keys[event.key]) keys[event.key]();
    else return;
    event.preventDefault();
  });
  pane.addEventListener("scroll", soon, { passive: true });
  pane.addEventListener("click", (event) => {
    const row = event.target.closest(".row");
    if (!row) return;
    const at = Number(row.id.slice(4));
    if (event.target.closest(".twist") || at === active) { time.toggle(lines[at]); active = at; fresh(); }
    else go(at);
  });
  // With ctrl, as maps and profilers have it; the plain wheel scrolls.
  pane.addEventListener("wheel", (event) => {
    if (!event.ctrlKey) return;
    event.preventDefault();
    const box = ruler.getBoundingClientRect();
    const [from, to] = time.stretch;
    const at = from + Math.min(1, Math.max(0, (event.clientX - box.left) / box.width)) * (to - from);
    time.zoom(event.deltaY > 0 ? 1.25 : 0.8, at);
    draw();
  }, { passive: false });

  let drag = null;
  const mark = element("span", { class: "drag", hidden: true });
  const at = (event) => {
    const box = ruler.getBoundingClientRect();
    return Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
  };
  ruler.addEventListener("pointerdown", (event) => {
    drag = at(event);
    ruler.setPointerCapture(event.pointerId);
    event.preventDefault();
  });
  ruler.addEventListener("pointermove", (event) => {
    if (drag === null) return;
    const [low, high] = [drag, at(event)].sort((one, two) => one - two);
    mark.hidden = false;
    mark.style.left = `${low * 100}%`;
    mark.style.width = `${(high - low) * 100}%`;
    ruler.append(mark);
  });
  ruler.addEventListener("pointerup", (event) => {
    if (drag === null) return;
    const [low, high] = [drag, at(event)].sort((one, two) => one - two);
    drag = null;
    mark.hidden = true;
    if (high - low < 0.005) return;
    const [from, to] = time.stretch;
    time.show(from + low * (to - from), from + high * (to - from));
    draw();
  });
  ruler.addEventListener("dblclick", () => { time.reset(); draw(); });
  new ResizeObserver(soon).observe(pane);

  lazyguard.openTree = (name) => {
    time.choose(name);
    choice.value = name;
    search.value = "";
    time.search("");
    active = 0;
    fresh();
    document.getElementById("imports").scrollIntoView();
    pane.focus({ preventScroll: true });
  };
  const none = element("p", { class: "calm", hidden: true }, "No import is like that.");
  const made = section("imports", "Imports over time",
    element("p", { class: "calm" },
      element("span", { class: "key first" }), " of the program  ", element("span", { class: "key third" }),
      " third party and standard library. Foreign modules of less than a millisecond are left out."),
    tools,
    element("div", { class: "waterfall" }, element("div", { class: "head" }, element("span", {}, "module"), ruler), pane),
    none, detail);
  lazyguard.redraw = fresh;
  return made;
};
