"""The report of a label store as one HTML file that needs nothing else: no network, no server, no second file.

Labels come from files of strangers. What they say goes into one block of data that is no script, and the page's own
script shows it as text, so that no word of theirs becomes markup. A policy in the page lets the browser run and style
by nothing but the two scripts and the style sheets that are named by their digests.
"""

import base64
import dataclasses
import hashlib
import json
import pathlib
from typing import Any

from hardmo_jax.viz.report_data import ReportContent, report_data

_ASSETS = pathlib.Path(__file__).parent / "assets"
_STYLES = ("uplot-1.6.32.min.css", "report.css")
_SCRIPTS = ("uplot-1.6.32.min.js", "report.js")
#: Letters that could end the block of data, or a line of a script, as escapes of JSON.
_ESCAPES = {ord(letter): f"\\u{ord(letter):04x}" for letter in "<>&\u2028\u2029"}


def report_html(content: ReportContent) -> str:
    """The page, as text to be written in UTF-8.

    Args:
        content: Labels, close-ups, and where they come from.
    """
    data = report_data(content)
    data["close_ups"] = [
        {
            **{name: value for name, value in dataclasses.asdict(one).items() if name != "jpeg"},
            "image": "data:image/jpeg;base64," + base64.b64encode(one.jpeg).decode("ascii"),
        }
        for one in content.close_ups
    ]
    styles = [_asset(name) for name in _STYLES]
    scripts = [_asset(name) for name in _SCRIPTS]
    policy = (
        f"default-src 'none'; script-src {_digests(scripts)}; style-src {_digests(styles)}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    return "\n".join(
        [
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="referrer" content="no-referrer"><title>Label report</title>',
            *(f"<style>{style}</style>" for style in styles),
            f"</head><body>{_asset('report.html')}",
            f'<script id="data" type="application/json">{_embedded(data)}</script>',
            *(f"<script>{script}</script>" for script in scripts),
            "</body></html>\n",
        ]
    )


def _asset(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")


def _digests(texts: list[str]) -> str:
    """Sources of a policy that allow these texts."""
    digests = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii") for text in texts)
    return " ".join(f"'sha256-{digest}'" for digest in digests)


def _embedded(data: dict[str, Any]) -> str:
    """JSON in ASCII that no parser of HTML takes for anything else than text."""
    return json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":")).translate(_ESCAPES)
