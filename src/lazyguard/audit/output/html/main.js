// Puts the page together, and lets the colours be chosen.

const { element, seconds, report } = lazyguard;

const facts = [
  `Python ${report.python}`,
  report.path && report.path !== "." ? report.path : null,
  `${report.modules.length} modules`,
  `time limit ${seconds(report.timeout)}`,
  `slow from ${seconds(report.slow)}`,
  report.repeats > 1 ? `the fastest of ${report.repeats}` : null,
  report.modules.some((module) => module.tier === "forked")
    ? `~ decided by a fork, its times put together (${report.modules.filter((module) => module.tier === "forked").length})`
    : null,
  report.interpreter_seconds ? `without the interpreter's start of ${seconds(report.interpreter_seconds)}` : null,
];
document.getElementById("facts").textContent = facts.filter(Boolean).join(" · ");
document.getElementById("footer").textContent =
  "Each module was imported alone. A total has parents and all below in it; own is the module's body without what it imports.";

const parts = [
  lazyguard.overview(), lazyguard.comparison(), lazyguard.against(), lazyguard.modules(), lazyguard.waterfall(), lazyguard.findings(),
  lazyguard.budgets(), lazyguard.advice(),
].filter(Boolean);
document.getElementById("main").replaceChildren(...parts);
document.getElementById("sections").append(...parts.map((part) =>
  element("a", { href: `#${part.id}` }, part.querySelector("h2").textContent)));
lazyguard.redraw();

// No storage is asked for: a page from a file has none that is its own.
const themes = { "": ["light dark", "as the system has them"], light: ["light", "light"], dark: ["dark", "dark"] };
const order = Object.keys(themes);
let theme = "";
const button = document.getElementById("theme");
const colour = () => {
  document.documentElement.style.colorScheme = themes[theme][0];
  document.documentElement.dataset.theme = theme;
  button.textContent = { "": "◐", light: "☀", dark: "☾" }[theme];
  button.setAttribute("aria-label", `Colours: ${themes[theme][1]}`);
  button.title = `Colours: ${themes[theme][1]}`;
};
button.addEventListener("click", () => {
  theme = order[(order.indexOf(theme) + 1) % order.length];
  colour();
});
colour();

document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.altKey || event.metaKey || event.target.closest("input, select")) return;
  document.getElementById("search").focus();
  event.preventDefault();
});
// What was folded is on paper all the same.
window.addEventListener("beforeprint", () => {
  for (const each of document.querySelectorAll("details")) each.open = true;
});
