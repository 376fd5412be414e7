"""The page of a report: what strangers wrote stays text, nothing is asked of a network, and it stays small."""

import dataclasses
import hashlib
import html.parser
import json
import pathlib
import re

import pytest

from hardmo_jax.viz.report_data import ReportCloseUp, ReportContent, report_data, without_folders
from hardmo_jax.viz.report_page import report_html
from tests.labels.test_schema import make_row

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TAGS = (
    "<script>alert(1)</script>", "</script><script>alert(1)</script>", "<img src=x onerror=alert(1)>", "<!--<script>",
    "--><svg onload=alert(1)>", "'\"><iframe srcdoc=x>", "<base href=//evil>", "</title><script>alert(1)</script>",
    "\u2028alert(1)\u2029", "${alert(1)}", "javascript:alert(1)", "]]><script>alert(1)</script>",
    "<a href=javascript:alert(1)>", "&lt;script&gt;", "</style><script>alert(1)</script>", "\\u003cscript\\u003e",
    "<math><mtext></form><form>", "<template><script>x", "<plaintext>", "<body onload=alert(1)>",
)  # fmt: skip
PAYLOADS = tuple(payload + end for payload in TAGS for end in ("", " x"))


class Reader(html.parser.HTMLParser):
    """Tags with attributes, and the text of the block of data."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.data, self._inside = [], "", False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, tuple(attributes)))
        self._inside = tag == "script" and ("id", "data") in attributes

    def handle_endtag(self, tag):
        self._inside = False

    def handle_data(self, data):
        if self._inside:
            self.data += data


def content(words="fine", **changes):
    """A report of two labels whose every word is of somebody's choice."""
    rows = [make_row(source_path=f"{words}.jpg", track_id=place, category=words, licence=words) for place in range(2)]
    rows = [dataclasses.replace(row, code_version=words, camera_source=words) for row in rows]
    shot = ReportCloseUp(title=words, what=words, panels=(words,), label=0, jpeg=b"\xff\xd8", size=(2, 1))
    run = {"command": [words, f"--input={words}"], words: {words: [words]}, "git_commit": words}
    given = {"title": words, "rows": rows, "warnings": [words], "close_ups": [shot], "close_up_note": words, "run": run}
    return ReportContent(**{**given, **changes})


def shape(text):
    """Tags with those attributes that do not follow from the data."""
    return Reader(text).tags


@pytest.mark.parametrize("payload", PAYLOADS)
def test_words_of_strangers_become_no_markup(payload):
    text = report_html(content(payload))
    assert shape(text) == shape(report_html(content()))
    block = Reader(text).data
    assert not re.search("[<>&\u2028\u2029]", block)
    assert json.loads(block)["title"] == without_folders(payload)


def test_page_asks_nothing_of_anybody():
    text = report_html(content())
    tags = shape(text)
    policy = next(
        dict(attributes)["content"] for _, attributes in tags if ("http-equiv", "Content-Security-Policy") in attributes
    )
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
    names = {name for _, attributes in tags for name, _ in attributes}
    assert not {name for name in names if name.startswith("on") or name in ("src", "href", "style")}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/home/jane/dance.mp4: cut off", "dance.mp4: cut off"),
        ("/home/Jane Doe/dance.mp4: cut off", "dance.mp4: cut off"),
        (r"C:\Users\jane\dance.mp4", "dance.mp4"),
        ("--input=~/films/a.mp4", "--input=a.mp4"),
        ("file:///home/jane/a.mp4", "a.mp4"),
        (r"\\host\share\a.mp4", "a.mp4"),
        ("/home/jane", "~"),
        ("/home/Jane Doe", "~"),
        (r"C:\Users\jane: not there", "~: not there"),
        ("--input=/Users/jane was empty", "--input=~ was empty"),
        ("home/jane/films/a.mp4", "films/a.mp4"),
        ("https://jane:secret@example.org/a", "https://example.org/a"),
        ("https://example.org/home/a", "https://example.org/home/a"),
        ("https://example.org/a/b", "https://example.org/a/b"),
        ("films/a.mp4 and/or b", "films/a.mp4 and/or b"),
    ],
)
def test_folders_of_a_machine_are_not_told(text, expected):
    assert without_folders(text) == expected


def test_columns_tell_what_labels_hold():
    rows = content().rows
    told = report_data(content())
    columns = told["labels"]
    assert columns["error"]["body"] == [round(1e4 * row.error_by_part["body"]) for row in rows]
    assert [columns["statuses"][number] for number in columns["status"]] == [row.status for row in rows]
    assert sum(told["histograms"][0]["counts"]) == len(rows)


def test_what_people_said_is_told_in_words_and_counts_for_more_than_scores():
    rows = content().rows
    said = dataclasses.replace(
        rows[0], review_by_part={"left_hand": "wrong", "right_foot": "right"}, placed_points=("left_heel",),
        origin="human", wrong_by_part={"left_hand": 0.1, "right_foot": 0.9},
    )  # fmt: skip
    told = report_data(content(rows=[said, rows[1]]))
    columns = told["labels"]
    words = {part: columns["part_reviews"][numbers[0]] for part, numbers in columns["review_by_part"].items()}
    assert words == {"body": "", "left_foot": "", "right_foot": "right", "left_hand": "wrong", "right_hand": ""}
    assert columns["placements"][columns["placed"][0]] == "left_heel"
    assert columns["origins"][columns["origin"][0]] == "human"
    facts = dict(told["facts"])
    assert [facts[name] for name in ("looked at by a person", "corrected by hand", "hands and feet called wrong")] == [
        "1", "1", "1",
    ]  # fmt: skip
    assert "accepted" not in facts
    wrong = {one["part"]: one["wrong"] for one in told["part_summaries"]}
    assert (wrong["left_hand"], wrong["right_foot"]) == (1, 0)


def test_what_is_inlined_is_what_is_told_of_third_parties():
    told = (ROOT / "THIRD_PARTY.md").read_text()
    assets = ROOT / "hardmo_jax" / "viz" / "assets"
    for path in sorted(assets.glob("uplot-*.min.*")):
        assert hashlib.sha256(path.read_bytes()).hexdigest() in told, path.name
    assert "Permission is hereby granted" in (assets / "uplot-LICENSE.txt").read_text()


def test_five_thousand_labels_with_close_ups_stay_below_ten_megabytes():
    one = content().rows[0]
    shots = [dataclasses.replace(content().close_ups[0], jpeg=bytes(30_000))] * 24
    text = report_html(content(rows=[one] * 5000, close_ups=shots))
    assert len(text.encode()) < 3_000_000
