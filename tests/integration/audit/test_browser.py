"""The page of a report in a real browser: from a file, by keyboard, in both colours, with a thousand modules.

Screenshots are kept in build/tests/browser/.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from lazyguard.audit import Against, Blame, Failure, Finding, Imported, ModuleReport, Place, Report, Slower
from lazyguard.audit.output.html import page

SHOTS = Path(__file__).parents[3] / "build" / "tests" / "browser"
SMOOTH = 0.25  # seconds a frame in the middle, on a busy machine without a graphics card: without windows it is many
EVIL = "</script><img src=x onerror=alert(1)><b>bold</b>"


@pytest.fixture(scope="module")
def browser():
    """Start a headless Chromium, and end it."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    driver = shutil.which("chromedriver")
    if program is None or driver is None:
        pytest.skip("chromium and its driver (Debian: chromium, chromium-driver) are not installed")
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    # without a sandbox: CI runs as root; what is opened is this test's own page
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    started = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield started
    started.quit()


@pytest.fixture
def open_page(browser, tmp_path):
    """Return a function that opens the page of a report; at the end nothing was complained of, nothing loaded."""
    SHOTS.mkdir(parents=True, exist_ok=True)

    def open_it(report: Report, before: Report | None = None, *, width: int = 1280, colours: str = "light"):
        file = tmp_path / "report.html"
        file.write_text(page(report, before), encoding="utf-8")
        browser.set_window_size(width, 1200)
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme(colours)]})
        browser.get(file.as_uri())
        return browser

    browser.get_log("browser"), browser.get_log("performance")
    yield open_it
    assert browser.get_log("browser") == []
    asked = [json.loads(each["message"])["message"] for each in browser.get_log("performance")]
    loaded = {each["params"]["request"]["url"] for each in asked if each["method"] == "Network.requestWillBeSent"}
    assert all(url.startswith(tmp_path.as_uri()) for url in loaded), loaded


def scheme(colours: str) -> dict[str, str]:
    return {"name": "prefers-color-scheme", "value": colours}


def tree(name: str, count: int = 30) -> tuple[Imported, ...]:
    """Return a module that executes others, every third of them below the one before."""
    rows = [Imported(name, None, 0.0, 0.3, 0.01, True, f"{name.replace('.', '/')}.py")]
    for at in range(1, count):
        parent = at - 1 if at % 3 == 0 else 0
        start, seconds = 0.3 * at / count, 0.3 / count
        rows.append(Imported(f"needed{at}", parent, start, seconds, seconds, at % 2 == 0, None, Place("core/a.py", at)))
    return tuple(rows)


def program(path: Path) -> Report:
    """Return a report with a cause, findings and a module called by markup."""
    (path / "core").mkdir()
    (path / "core" / "a.py").write_text("import socket\n\nsocket.create_connection(('10.0.0.1', 1))  # <b>here</b>\n")
    blame = Blame("core/a.py", 3, Place("socket.py", 100), ("core.b", "core.a"))
    connects = Finding("connect", "core/a.py", 3, "10.0.0.1:1", ("core.b", "core.a"))
    modules = (
        ModuleReport("core", "ok", 0.02, 0.02, imports=tree("core")),
        ModuleReport("core.a", "hangs", 5.0, 5.0, blame=blame, findings=(connects,), imports=tree("core.a")),
        ModuleReport("core.b", "hangs", 5.0, 0.0, blame=blame, findings=(connects,), imports=tree("core.b")),
        ModuleReport(EVIL, "fails", 0.1, 0.1, error=Failure("ValueError", EVIL)),
        ModuleReport("core.slow", "slow", 0.7, 0.6, imports=tree("core.slow")),
    )
    return Report("3.12.1", 5.0, 1, modules, path=str(path))


def names(browser) -> list[str]:
    return [each.text for each in browser.find_elements("css selector", "#modules tbody th")]


def rows(browser) -> list[str]:
    script = "return [...document.querySelectorAll('.row')].map(row => row.getAttribute('aria-label').split(',')[0])"
    return browser.execute_script(script)


def press(browser, *keys: str) -> None:
    """Type on whatever has the focus."""
    from selenium.webdriver import ActionChains

    for key in keys:
        ActionChains(browser).send_keys(key).perform()


def test_a_page_opens_from_a_file_and_shows_what_was_found(open_page, tmp_path):
    """Causes with the line that hangs, findings once for all who have them, and markup as the text that it is."""
    browser = open_page(program(tmp_path))
    cause = browser.find_element("css selector", ".cause")
    assert "2 of 5 hang in core/a.py:3" in cause.text
    assert "socket.create_connection" in cause.find_element("css selector", "mark").text
    assert "seen from 2 modules" in browser.find_element("id", "findings").text
    assert EVIL in names(browser)
    assert not browser.find_elements("css selector", "img, #main b")
    browser.save_screenshot(str(SHOTS / "light.png"))


def test_verdicts_and_words_filter(open_page, tmp_path):
    """A click on a verdict and a word in the search leave the modules that have both; a second click takes it back."""
    browser = open_page(program(tmp_path))
    hangs = browser.find_element("css selector", ".filter[data-verdict=hangs]")
    hangs.click()
    assert hangs.get_attribute("aria-pressed") == "true"
    assert names(browser) == ["core.a", "core.b"]
    assert len([each for each in browser.find_elements("css selector", ".cause") if each.is_displayed()]) == 1
    browser.find_element("id", "search").send_keys("B")
    assert names(browser) == ["core.b"]
    hangs.click()
    browser.find_element("id", "search").send_keys("\ue003")  # backspace
    assert len(names(browser)) == 5


def test_columns_sort(open_page, tmp_path):
    """A click on a column sorts by it, another the other way round, and the table says so."""
    browser = open_page(program(tmp_path))
    total = browser.find_element("xpath", "//th[button='total']")
    total.find_element("tag name", "button").click()
    assert total.get_attribute("aria-sort") == "descending"
    assert names(browser)[-1] == "core"
    total.find_element("tag name", "button").click()
    assert names(browser)[0] == "core"


def test_the_tree_is_found_in_and_zoomed_into(open_page, tmp_path):
    """A search leaves what it finds and what leads there; zooming shows less time, and back all of it."""
    browser = open_page(program(tmp_path))
    browser.find_element("xpath", "//button[.='core.slow']").click()
    assert rows(browser)[:3] == ["core.slow", "core.slow", "needed1"]
    browser.find_element("id", "tree-search").send_keys("needed3")
    assert rows(browser) == ["core.slow", "core.slow", "needed2", "needed3"]
    ruler = browser.find_element("css selector", ".ruler")
    whole = ruler.text
    browser.find_element("css selector", "[aria-label='Zoom in']").click()
    assert ruler.text != whole
    browser.find_element("css selector", "[aria-label='Show all of the time']").click()
    assert ruler.text == whole
    from selenium.webdriver import ActionChains

    ActionChains(browser).click_and_hold(ruler).move_by_offset(100, 0).release().perform()
    assert ruler.text != whole
    browser.save_screenshot(str(SHOTS / "tree.png"))


def test_everything_is_reached_by_keyboard(open_page, tmp_path):
    """By Tab to the table and the tree, by arrows through it; keys close, open, zoom; the chosen row is reported."""
    browser = open_page(program(tmp_path))
    press(browser, "/", "core.slow")
    assert names(browser) == ["core.slow"]
    for _ in range(20):
        press(browser, "\ue004")
        if browser.switch_to.active_element.text == "core.slow":
            break
    press(browser, "\ue007")  # Enter
    pane = browser.switch_to.active_element
    assert pane.get_attribute("role") == "tree"
    press(browser, "\ue015", "\ue015")  # down
    chosen = browser.find_element("id", pane.get_attribute("aria-activedescendant"))
    assert chosen.get_attribute("aria-label").startswith("needed1")
    assert "needed1" in browser.find_element("id", "tree-detail").text
    before = browser.find_element("css selector", ".ruler").text
    press(browser, "+")
    assert browser.find_element("css selector", ".ruler").text != before
    press(browser, "0")
    assert browser.find_element("css selector", ".ruler").text == before
    press(browser, "\ue013", "\ue012")  # up, then left: closed
    assert rows(browser) == ["core.slow", "core.slow"]
    press(browser, "\ue014")
    assert "needed1" in rows(browser)


def test_before_and_after_stand_side_by_side(open_page, tmp_path):
    """What was mended, broken, new and gone is distinguished."""
    before = program(tmp_path)
    mended = [ModuleReport("core.a", "ok", 0.1, 0.1), ModuleReport("core.new", "ok", 0.1, 0.1)]
    broken = ModuleReport("core", "fails", 0.02, 0.02)
    kept = [module for module in before.modules if module.module in ("core.b", "core.slow")]
    browser = open_page(Report("3.12.1", 5.0, 1, (broken, *mended, *kept), path=str(tmp_path)), before)
    groups = browser.find_elements("css selector", "#comparison details")
    titles = [each.find_element("tag name", "summary").text for each in groups]
    assert titles == ["Broken (1)", "Mended (1)", "Not there before (1)", "No longer there (1)", "As before (2)"]
    browser.save_screenshot(str(SHOTS / "comparison.png"))


AGAINST = Against(
    "../main",
    5,
    2,
    (
        Slower("core.a", 0.11, 0.31, ("pandas",), ("core.b",), Place("core/a.py", 3), ("core.a", "pandas")),
        Slower("core.b", 0.0, 0.05),
    ),
    ("core.slow", "core"),
)


def test_what_became_slower_is_shown(open_page, tmp_path):
    """Both times, their quotient, what is new at its line, and what is not known; from a file that was kept as well."""
    (tmp_path / "kept.json").write_text(json.dumps(replace(program(tmp_path), against=AGAINST).to_dict()))
    report = Report.from_dict(json.loads((tmp_path / "kept.json").read_text()))
    browser = open_page(report)
    beside = browser.find_element("id", "against")
    assert "2 of 5 modules became slower than in ../main; undecided: 2." in beside.text
    assert "2 sources there have no byte code, 0 here" in beside.text
    cells = [row.text.split() for row in beside.find_elements("css selector", "tbody tr")]
    assert cells == [
        ["core.a", "110", "ms", "310", "ms", "2.82x"],
        ["core.b", "0", "µs", "50.0", "ms", "was", "~0"],
    ]
    bars = [each.size["width"] for each in beside.find_elements("css selector", "tr:first-child .compared")]
    assert bars[0] == pytest.approx(bars[1] * 0.11 / 0.31, abs=2)
    (why,) = beside.find_elements("css selector", "[data-module]")
    assert "new: pandas; longer than there: core.b at core/a.py:3" in why.text
    assert "imported by core.a → pandas" in why.text
    assert "socket.create_connection" in why.find_element("css selector", "mark").text
    left = beside.find_element("css selector", "[data-group=left]")
    left.find_element("tag name", "summary").click()
    assert "core.slow, core" in left.text
    assert browser.find_elements("css selector", "nav a[href='#against']")
    browser.save_screenshot(str(SHOTS / "against.png"))


@pytest.mark.parametrize(
    ("left", "said"),
    [
        ((), "None of 5 modules became slower than in ../main."),
        (("core",), "Of 5 modules none is known to have become slower than in ../main; undecided: 1."),
    ],
)
def test_a_state_beside_which_nothing_is_slower_is_named(open_page, tmp_path, left, said):
    """Without a table; and nothing is called as fast of which that is not known."""
    browser = open_page(replace(program(tmp_path), against=Against("../main", 5, left=left)))
    beside = browser.find_element("id", "against")
    assert said in beside.text
    assert not beside.find_elements("tag name", "table")
    assert not beside.find_elements("css selector", ".notice")


@pytest.mark.parametrize(("width", "colours"), [(1280, "dark"), (320, "light")])
def test_colours_and_narrow_screens(open_page, tmp_path, width, colours):
    """The page takes the system's colours until others are chosen, and needs no scrolling to the side on a phone."""
    browser = open_page(program(tmp_path), width=width, colours=colours)
    ground = "return getComputedStyle(document.body).backgroundColor"
    dark = browser.execute_script(ground)
    browser.find_element("id", "theme").click()  # light
    light = browser.execute_script(ground)
    assert (dark != light) == (colours == "dark")
    browser.find_element("id", "theme").click()  # dark
    assert browser.execute_script(ground) != light
    browser.find_element("id", "theme").click()  # as the system has them
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics(width))
    wide = browser.execute_script("return document.documentElement.scrollWidth - document.documentElement.clientWidth")
    browser.save_screenshot(str(SHOTS / f"{colours}-{width}.png"))
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert wide <= 0


def metrics(width: int) -> dict[str, object]:
    return {"width": width, "height": 1200, "deviceScaleFactor": 1, "mobile": False}


def large(count: int) -> tuple[ModuleReport, ...]:
    """A program with a chain of 300 imports, a circle of 40 modules, 200 modules of one cause, and 100 imports each."""
    names = [f"core.package{at % 20}.module{at}" for at in range(count)]
    circle, made = names[500:540], list[ModuleReport]()
    for at, name in enumerate(names):
        rows = tree(f"core.module{at}", 100)
        if at < 300:
            rows = tuple(
                Imported(each, deep - 1 if deep else None, 0.0, 0.3, 0.001, first_party=True)
                for deep, each in enumerate(names[at:300])
            )
        report = ModuleReport(name, "ok", 0.3, 0.1, imports=rows)
        if name in circle:
            members = circle[at - 500 :] + circle[: at - 500]
            ring = " > ".join(f"{each} (core/{each[5:]}.py:1)" for each in members) + f" > {name}, which is not done"
            found = Finding("circular-import", f"core/{members[-1][5:]}.py", 1, ring, (name,))
            report = replace(report, findings=(found,))
        if 600 <= at < 800:
            report = replace(report, verdict="slow", blame=Blame("core/settings.py", 3, None, (name, "core.settings")))
        made.append(report)
    return tuple(made)


def figures(browser) -> dict[str, float]:
    """Return the seconds until the page is ready, of a frame while its tree is scrolled, and of a search."""
    ready = browser.execute_script("return performance.getEntriesByType('navigation')[0].domComplete / 1000")
    frames = browser.execute_async_script("""
        const [done] = arguments, pane = document.getElementById("tree");
        pane.scrollIntoView();
        const frames = [];
        let last;
        const step = (now) => {
            frames.push((now - last) / 1000);
            last = now;
            pane.scrollTop += 700;
            if (frames.length < 40) requestAnimationFrame(step);
            else done(frames.sort((one, two) => one - two));
        };
        requestAnimationFrame((now) => { last = now; requestAnimationFrame(step); });
    """)
    searched = browser.execute_script("""
        const search = document.getElementById("tree-search"), began = performance.now();
        search.value = "module42";
        search.dispatchEvent(new Event("input"));
        return (performance.now() - began) / 1000;
    """)
    return {"ready": ready, "frame": frames[20], "worst frame": frames[-1], "search": searched}


def test_three_thousand_modules_stay_smooth(open_page, record_testsuite_property):
    """Whatever the machine does, beside a tenth of them: no frame is felt, and the rest grows no faster than they do.

    What belongs together is one cause, and one finding.
    """
    made = large(3000)
    before = figures(open_page(Report("3.12.1", 5.0, 1, made[:300])))
    browser = open_page(Report("3.12.1", 5.0, 1, made))
    assert len(browser.find_elements("css selector", ".row")) < 100
    assert len(browser.find_elements("css selector", ".cause")) == 1
    assert len(browser.find_elements("css selector", ".finding")) == 1
    many = figures(browser)
    after = figures(open_page(Report("3.12.1", 5.0, 1, made[:300])))
    few = {name: max(seconds, after[name]) for name, seconds in before.items()}
    for name, seconds in many.items():
        record_testsuite_property(f"three thousand modules, {name}", round(seconds, 3))
    print(few, many)
    assert many["frame"] < 10 * few["frame"] + SMOOTH, (few, many)
    assert many["ready"] < 30 * few["ready"] + 1.0, (few, many)
    assert many["search"] < 30 * few["search"] + 1.0, (few, many)
