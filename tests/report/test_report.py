import base64
import io
import os
import re
import shutil

import numpy as np
import pytest

from rnn_topologies.report import page as report
from rnn_topologies.runs import store
from rnn_topologies.runs.record import Record
from rnn_topologies.tasks.errors import UserError
from rnn_topologies.tasks.models import explanations

from ..support.paths import ROOT

HOSTILE = "<script>window.hacked = 1</script>"
IMAGE = "<img src=x onerror='window.hacked = 1'>"
ARTEFACTS = ROOT / "build"


def write_run(folder, task, cell, seed, *, samples, explained, status="ok", tables=None, value=0.5):
    """Writes a run as `experiment.run_experiment` would."""
    run_id = f"20260101T00000{seed}Z-{task}-{cell}-seed{seed}-abcd"
    ok = status == "ok"
    record = Record(
        run_id=run_id,
        started_at="2026-01-01T00:00:00+00:00",
        status=status,
        task=task,
        topology="many-to-one",
        cell=cell,
        dataset=f"data {HOSTILE}" if task == "image_captioning" else "data",
        config={"cell": cell, "seed": seed, "units": 8, "dataset": "data"},
        environment={"backend": "tensorflow"},
        git=None,
        data={"name": "data", "examples": {"test": len(samples)}},
        model={"trainable_parameters": 1234},
        metrics={"test/accuracy": value} if ok else {},
        headline={"name": "accuracy", "value": value, "higher_is_better": True, "meaning": "."}
        if ok
        else None,
        baselines={f"majority {IMAGE}": 0.1} if ok else {},
        tables=tables or {},
        seconds={"fit": 1.0},
    )
    epochs = [{"epoch": n, "loss": 1 / n, "val_loss": 1.5 / n} for n in (1, 2, 3)]
    store.write_run(folder, record, epochs=epochs, examples=samples, explained=explained)
    return run_id


def sample(**values):
    return {"source": "in", "output": "out", "target": "out", "right": True, **values}


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A report with runs of every kind; some of their texts are malicious."""
    folder = tmp_path_factory.mktemp("results")
    tokens = ["<start>", "a", " ", "b", "<end>"]
    png = explanations.encode_png(np.random.default_rng(0).integers(0, 255, (8, 8, 3), "uint8"))
    attention = {
        "output": "ab",
        "steps": tokens[1:4],
        "written": ["x", "<end>"],
        "attention": [[0.875, 0.125, 0.0], [0.0, 0.25, 0.75]],
    }
    steps = {
        "output": HOSTILE,
        "steps": tokens,
        "classes": [HOSTILE, "other"],
        "probabilities": [[0.5, 0.5]] * 5,
    }
    confusion = {"classes": [HOSTILE, IMAGE], "counts": [[5, 1], [0, 4]]}
    clip = {
        "output": ["left", "left", HOSTILE],
        "image": png,
        "steps": ["1", "2", "3"],
        "classes": ["left", HOSTILE],
        "probabilities": [[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]],
    }
    for cell, seed in (("gru", 0), ("gru", 1), ("lstm", 0)):
        write_run(
            folder, "translation", cell, seed,
            samples=[sample(output=HOSTILE)], explained=[{"index": 0, **attention}],
            value=0.5 + seed / 10 + (cell == "lstm") / 5,
        )  # fmt: skip
    write_run(folder, "translation", "gru", 2, samples=[], explained=[], status="diverged")
    write_run(
        folder, "text_classification", "gru", 0,
        samples=[sample(source=IMAGE, output=HOSTILE, right=False)],
        explained=[{"index": 0, **steps}], tables={"confusion": confusion},
    )  # fmt: skip
    write_run(
        folder, "image_captioning", "gru", 0,
        samples=[sample(source=IMAGE, output=HOSTILE, target=IMAGE)],
        explained=[{"index": 0, "output": HOSTILE, "image": png, "written": ["a"]}],
    )  # fmt: skip
    write_run(
        folder, "video_labeling", "gru", 0,
        samples=[sample(labels=[0, 0, 1], right=False)], explained=[{"index": 0, **clip}],
    )  # fmt: skip
    return report.write_report(folder)


@pytest.fixture(scope="module")
def browser():
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (chromium and driver):
        message = "needs Debian's chromium and chromium-driver"
        if os.environ.get("RNN_TOPOLOGIES_BROWSER") == "required":
            pytest.fail(message)
        pytest.skip(message)
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1200,900"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(driver)
    chrome = webdriver.Chrome(options=options, service=service)
    yield chrome
    chrome.quit()


@pytest.fixture
def opened(browser, page):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    browser.get(page.as_uri())
    WebDriverWait(browser, 30).until(lambda b: b.find_elements(By.CSS_SELECTOR, "body.drawn"))
    return browser


def visible(browser, selector):
    from selenium.webdriver.common.by import By

    return [e for e in browser.find_elements(By.CSS_SELECTOR, selector) if e.is_displayed()]


def test_the_page_draws_every_chart_without_errors_or_network_access(opened):
    assert opened.get_log("browser") == []
    charts = len(opened.find_elements("css selector", "[data-chart]"))
    # Curves of four data sets, two attention maps, probabilities, and a confusion matrix.
    assert charts == len(opened.find_elements("css selector", "[data-chart] svg")) == 8
    requested = opened.execute_script(
        "return performance.getEntriesByType('resource').map(entry => entry.name)"
    )
    assert [name for name in requested if not name.startswith("data:")] == []
    ARTEFACTS.mkdir(exist_ok=True)
    shot = opened.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True})
    (ARTEFACTS / "report.png").write_bytes(base64.b64decode(shot["data"]))


def test_text_of_users_is_escaped(opened, page):
    assert opened.execute_script("return window.hacked") is None
    captions = [e.text for e in opened.find_elements("css selector", "figcaption")]
    assert any(HOSTILE in caption for caption in captions)
    html = page.read_text("utf-8")
    assert HOSTILE not in html
    assert "<img src=x" not in html


def test_a_row_filters_the_page_by_mouse_and_by_keyboard(opened):
    from selenium.webdriver.common.keys import Keys

    headings = [e.text for e in visible(opened, "h2")]
    assert len(headings) == 4
    button = next(
        e
        for e in visible(opened, "button[data-row]")
        if e.get_attribute("data-name").startswith("tran")
    )
    button.click()
    assert [e.text for e in visible(opened, "h2")] == ["translation · data"]
    assert len(visible(opened, "article")) == 1
    assert button.get_attribute("aria-pressed") == "true"
    assert "Showing translation" in opened.find_element("id", "filter").text
    opened.find_element("id", "show-all").send_keys(Keys.ENTER)
    assert [e.text for e in visible(opened, "h2")] == headings
    button.send_keys(Keys.SPACE)
    assert len(visible(opened, "h2")) == 1
    button.find_element("xpath", "./ancestor::tr").click()
    assert len(visible(opened, "h2")) == 4


def test_an_attention_map_shows_its_value_on_hover(opened):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.support.ui import WebDriverWait

    cell = next(
        e for e in visible(opened, "[data-chart^=example] path[aria-label]")
        if "attention: 0.875" in e.get_attribute("aria-label")
    )  # fmt: skip
    opened.execute_script("arguments[0].scrollIntoView({block: 'center'})", cell)
    ActionChains(opened).move_to_element(cell).perform()
    WebDriverWait(opened, 10).until(lambda b: visible(b, "#vg-tooltip-element"))
    assert "0.875" in visible(opened, "#vg-tooltip-element")[0].text


@pytest.mark.parametrize("width", [520, 1200])
def test_the_page_fits_the_window(opened, width):
    opened.set_window_size(width, 900)
    wide = opened.execute_script("return document.documentElement.scrollWidth")
    assert wide <= opened.execute_script("return window.innerWidth")
    opened.set_window_size(1200, 900)


def test_failed_runs_are_counted(page):
    html = page.read_text("utf-8")
    assert "7 runs (1 failed, diverged or interrupted)" in html
    assert re.search(r">2 \(\+1 not ok\)<", html)


def test_frames_are_shown_with_true_and_predicted_labels(opened):
    titles = [e.get_attribute("title") for e in visible(opened, ".bar span")]
    assert "true: left, frames 1 to 2" in titles
    assert any(
        t.startswith("predicted: left, frames 1 to 2, mean probability 0.85") for t in titles
    )


def test_a_report_without_runs_is_refused(tmp_path):
    with pytest.raises(UserError, match="no runs"):
        report.write_report(tmp_path)


def test_an_image_is_embedded_losslessly():
    from PIL import Image

    image = np.random.default_rng(0).integers(0, 255, (5, 7, 1), "uint8")
    read = Image.open(io.BytesIO(base64.b64decode(explanations.encode_png(image))))
    np.testing.assert_array_equal(np.asarray(read), image[..., 0])
