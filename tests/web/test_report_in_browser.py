"""The report in a browser: it opens from disk, runs no stranger's word, asks nobody, and works by keys on any width."""

import dataclasses
import json
import time

import numpy as np
import pytest

from hardmo_jax.labels import store
from hardmo_jax.perception.photos import encode_jpeg
from hardmo_jax.pipelines.report_labels import write_report
from hardmo_jax.viz.report_data import ReportCloseUp, ReportContent
from hardmo_jax.viz.report_page import report_html
from tests.labels.test_schema import make_row
from tests.viz.test_report_page import PAYLOADS
from tests.web.browser import launched, opened_page, strangers

PARTS = ("body", "left_foot", "right_foot", "left_hand", "right_hand")
#: A word that a payload runs is counted.
_ALERT = "window.ran = 0; window.alert = () => { window.ran += 1; }"


@pytest.fixture(scope="module")
def browser():
    with launched() as found:
        yield found


def labels(count, num_people=4):
    """People over time with errors and probabilities, of whom somebody said something."""
    rng = np.random.default_rng(5)
    one = make_row()
    rows = []
    for place in range(count):
        frame, person = divmod(place, num_people)
        errors = dict(zip(PARTS, rng.uniform(0, 0.05, 5), strict=True))
        wrong = dict(zip(PARTS[1:], rng.uniform(0, 0.4, 4), strict=True))
        rows.append(
            dataclasses.replace(
                one, source_path="films/a long name of two dancers.mp4", frame_index=frame, time_seconds=frame / 30,
                track_id=person, error_by_part=errors, wrong_by_part=wrong, label_id="",
                score_by_part=dict.fromkeys(PARTS, 0.75),
            )
        )  # fmt: skip
    return rows


def content(count=40):
    rows = labels(count)
    rows[5] = dataclasses.replace(rows[5], review="accepted")
    rows[6] = dataclasses.replace(rows[6], review_by_part={"left_hand": "wrong", "right_foot": "right"})
    rows[7] = dataclasses.replace(rows[7], origin="human", placed_points=("left_heel",))
    rows[8] = dataclasses.replace(rows[8], status="DIVERGED", wrong_by_part={}, error_by_part={})
    rows[9] = dataclasses.replace(
        rows[9], wrong_by_part={"right_hand": 0.99}, outcome_by_part={"right_hand": "refined"}
    )
    jpeg = encode_jpeg(np.full((220, 660, 3), 90, np.uint8), quality=70)
    shots = [
        ReportCloseUp(title=f"shot {label}", what="wrong", panels=("seen", "before", "after"), label=label, jpeg=jpeg,
                      size=(660, 220))
        for label in (9, 6)
    ]  # fmt: skip
    return ReportContent(title="Labels of a test", rows=rows, close_ups=shots, run={"command": ["tools.annotate"]})


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(report_html(content()), encoding="utf-8")
    return path


def opened(page, path):
    page.goto(path.as_uri())
    page.wait_for_selector("html[data-ready]")


def shown(page):
    """First letters of the list, from the top."""
    texts = page.locator("#list .row").evaluate_all(
        "rows => rows.map(row => [parseFloat(row.style.top), row.children[0].title + '/' + row.children[1].innerText])"
    )
    return [text for _, text in sorted(texts)]


def test_words_of_strangers_run_nothing(browser, tmp_path):
    rows = []
    for place, words in enumerate(PAYLOADS):
        row = dataclasses.replace(
            labels(4)[3], source_path=f"{words}.mp4", category=words, licence=words, keypoint_source=words or "x",
            body_model=words, camera_source=words, code_version=words, frame_index=place, label_id="",
        )  # fmt: skip
        rows += [row, dataclasses.replace(row, frame_index=place + 100, label_id="")]
    store.write_labels(tmp_path / "labels.parquet", rows)
    run = {
        "command": list(PAYLOADS), "git_commit": PAYLOADS[0], "results": {"warnings": list(PAYLOADS)[:20]},
        **{words: {words: [words, {words: words}]} for words in PAYLOADS},
    }  # fmt: skip
    (tmp_path / "run.json").write_text(json.dumps(run))
    told = write_report(tmp_path)
    shots = [
        ReportCloseUp(title=words, what=words, panels=(words,), label=0, jpeg=b"\xff\xd8", size=(2, 1))
        for words in PAYLOADS
    ]
    pictured = tmp_path / "pictured.html"
    pictured.write_text(
        report_html(ReportContent(title=PAYLOADS[0], rows=rows, close_ups=shots, close_up_note=PAYLOADS[1], run=run)),
        encoding="utf-8",
    )
    for path in (told.path, pictured):
        with opened_page(browser) as page:
            page.add_init_script(_ALERT)
            opened(page, path)
            for part in page.locator("#run summary").all()[:5]:
                part.click()
            page.locator(".track:not(.head)").first.click()
            for key in "jjjnnk":
                page.keyboard.press(key)
            page.fill("#filter_text", "script")
            page.wait_for_timeout(50)
            assert page.evaluate("window.ran") == 0
            assert page.errors == []
            assert strangers(page) == []
            # Only what the page itself is made of.
            assert page.locator("script").count() == 3
            assert page.locator("iframe, svg, base, a, template, object, embed, math").count() == 0
            assert page.locator("img").count() == (0 if path == told.path else len(PAYLOADS))
            words = page.locator("#list .row span").all_inner_texts()
            assert any("<script" in word for word in words)


#: What a word of a stranger would do if it became a script, a picture or an attribute.
_INTRUDE = """() => {
  window.kept = [];
  document.addEventListener("securitypolicyviolation", (event) => window.kept.push(event.violatedDirective));
  const script = document.createElement("script"), image = document.createElement("img");
  script.textContent = "alert(1)";
  image.src = "https://example.org/x.png";
  document.body.append(script, image);
  const holder = document.body.appendChild(document.createElement("div"));
  holder.setAttribute("onclick", "alert(1)");
  holder.click();
}"""


def test_the_policy_lets_nothing_run_or_leave(browser, report):
    with opened_page(browser) as page:
        failures = {}
        page.on("requestfailed", lambda asked: failures.update({asked.url: asked.failure}))
        page.add_init_script(_ALERT)
        opened(page, report)
        page.evaluate(_INTRUDE)
        assert page.evaluate("fetch('https://example.org/').then(() => false, () => true)")
        page.wait_for_timeout(100)
        assert {"script-src-elem", "script-src-attr", "img-src", "connect-src"} <= set(page.evaluate("window.kept"))
        assert page.evaluate("window.ran") == 0
        # The browser tells of what it did not ask.
        assert {failures[url] for url in strangers(page)} <= {"csp"}


def test_keys_filters_and_order(browser, report):
    with opened_page(browser) as page:
        opened(page, report)
        count = page.locator("#count")
        # The surest wrong one is first; a person's word counts for more than any score.
        assert [text.rsplit("/", 1)[1] for text in shown(page)[:2]] == ["2", "1"]
        page.keyboard.press("j")
        assert "frame 1" in page.locator("#detail strong").inner_text()
        assert "a person says" in page.locator("#detail thead").inner_text()
        page.keyboard.press("j")
        second = page.locator("#detail").inner_text()
        page.keyboard.press("k")
        assert page.locator("#detail").inner_text() != second
        said = {"somebody looked": 3, "accepted": 1, "a part called wrong": 1, "corrected by hand": 1}
        for name, number in {**said, "nobody looked": 37}.items():
            page.select_option("#filter_review", name)
            assert count.inner_text().startswith(f"{number} of 40"), name
        page.click("#filters button[type=reset]")
        page.wait_for_timeout(20)
        page.select_option("#filter_status", "failed")
        assert count.inner_text() == "1 of 40 labels"
        page.select_option("#filter_status", "")
        page.fill("#filter_wrong", "90")
        assert count.inner_text() == "2 of 40 labels"
        page.fill("#filter_wrong", "")
        page.click("#list_head [data-key=body]")
        errors = page.locator("#list .row > :nth-child(4)").all_inner_texts()
        page.click("#list_head [data-key=body]")
        turned = page.locator("#list .row > :nth-child(4)").all_inner_texts()
        assert float(errors[0]) == max(map(float, errors))
        assert float(turned[0]) == min(map(float, turned))
        # `/` goes to the filter, where letters are letters; Escape comes back.
        page.keyboard.press("/")
        page.keyboard.type("person 3")
        assert count.inner_text() == "10 of 40 labels"
        page.keyboard.press("Escape")
        page.keyboard.press("n")
        assert page.locator("figure.on figcaption").inner_text().startswith("shot 9")
        page.keyboard.press("n")
        page.keyboard.press("Enter")
        # What a close-up shows is found whatever the filter says.
        assert count.inner_text() == "40 of 40 labels"
        assert "person 2" in page.locator("#detail strong").inner_text()
        theme = page.evaluate("document.documentElement.dataset.theme")
        page.keyboard.press("t")
        assert page.evaluate("document.documentElement.dataset.theme") != theme
        page.keyboard.press("?")
        assert page.locator("#help").is_visible()
        page.keyboard.press("Escape")
        assert not page.locator("#help").is_visible()
        assert page.errors == []


@pytest.mark.parametrize("width", [390, 820, 1280])
@pytest.mark.parametrize("dark", [False, True])
def test_it_is_of_use_on_any_width_in_light_and_dark(browser, report, width, dark):
    with opened_page(browser, width=width, dark=dark) as page:
        opened(page, report)
        page.locator(".track:not(.head)").first.click()
        page.keyboard.press("j")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.locator("#timeline canvas").count() == 3
        # Nothing that says how wrong a part is is cut off, nor are buttons broken.
        cut = "nodes => nodes.filter(node => node.scrollWidth > node.clientWidth + 1 && node.clientWidth).length"
        assert page.locator("#list .row > :nth-child(9)").evaluate_all(cut) == 0
        assert page.locator("#theme").evaluate("node => node.clientHeight") < 40
        colours = page.evaluate(
            "() => { const s = getComputedStyle(document.body); return [s.color, s.backgroundColor]; }"
        )
        bright = [sum(map(int, colour[4:-1].split(", "))) for colour in colours]
        assert (bright[0] > bright[1]) == dark
        assert page.errors == []


def test_five_thousand_labels_open(browser, tmp_path, figure):
    one = content()
    shots = [dataclasses.replace(one.close_ups[0], jpeg=one.close_ups[0].jpeg + bytes(29_000))] * 24
    path = tmp_path / "report.html"
    path.write_text(report_html(dataclasses.replace(one, rows=[*one.rows] * 125, close_ups=shots)), encoding="utf-8")
    with opened_page(browser) as page:
        start = time.perf_counter()
        opened(page, path)
        seconds = time.perf_counter() - start
        assert page.locator("#count").inner_text() == "5000 of 5000 labels"
        assert page.locator("#list .row").count() < 60
        assert page.errors == []
    size = path.stat().st_size
    figure(f"report          5,000 labels, 24 close-ups: {size / 1e6:.2f} MB, shown after {seconds:.2f} s")
    assert size < 10_000_000
