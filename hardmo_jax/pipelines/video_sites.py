"""Pages of video sites: yt-dlp reads the page, we fetch the file.

yt-dlp is an extra, and only its extractors are used. Every request they make goes through our own client, so that
pauses, robots.txt and the ban on private addresses hold for them too. What is fetched is one file by plain HTTP; no
downloader, post-processor, plug-in, browser, JavaScript or configuration file of yt-dlp ever runs.
"""

import dataclasses
import importlib.util
import io
import math
from collections.abc import Mapping
from typing import Any

from hardmo_jax.pipelines.web_addresses import RefusedError
from hardmo_jax.pipelines.web_client import FailedError, WebClient

INSTALL_COMMAND = "pip install 'hardmo_jax[collect]'"

_MOST_PAGE_BYTES = 32 << 20
_MOST_TEXT = 1000
#: Headers of ours that extractors do not change, and those that say we were a browser.
_KEPT_HEADERS = ("user-agent", "accept-encoding", "connection", "host", "content-length", "cookie")
_OF_BROWSERS = "sec-"


@dataclasses.dataclass(frozen=True, kw_only=True)
class SiteOptions:
    """What is done with pages."""

    allow: bool = False
    """Whether pages of sites are read at all; see docs/collect.md for what to look at before."""
    most_height: int = 1080
    """Of videos in pixels, where a site has several."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SiteVideo:
    """What a page says of its video."""

    url: str
    """Of the file."""
    headers: Mapping[str, str]
    """That the site wants to see with it."""
    page: str
    """Address of the page."""
    title: str
    """As the page says; may be empty."""
    author: str
    """As the page says; may be empty."""
    licence: str
    """As the page says; may be empty."""


def find_site_video(url: str, client: WebClient, options: SiteOptions, *, may_be_local: bool) -> SiteVideo:
    """Read the page of a video.

    Args:
        url: Of the page.
        client: Asks the web.
        options: Which of several files.
        may_be_local: See `WebClient.answer`.

    Raises:
        RefusedError: If pages are not allowed, or this one is a list of videos or live.
        FailedError: If yt-dlp is not installed or finds no video.
    """
    if not options.allow:
        raise RefusedError(
            "is a page; name the file itself, or allow pages of video sites (--config.sites.allow=True; "
            "first read docs/collect.md)"
        )
    if importlib.util.find_spec("yt_dlp") is None:
        raise FailedError(f"is a page, which needs yt-dlp: {INSTALL_COMMAND}")
    refusals: list[RefusedError] = []
    with _extractors(client, may_be_local, refusals) as reader:
        try:
            found = reader.extract_info(url, download=False)
        except Exception as error:  # what an extractor stumbles over in a page that it was not written for
            if refusals:
                raise refusals[0] from error
            raise FailedError(f"yt-dlp: {_line(str(error), 300).removeprefix('ERROR: ')}") from error
    if not isinstance(found, dict):
        raise FailedError("yt-dlp finds no video on the page")
    if found.get("_type", "video") != "video":
        raise RefusedError("is a list of videos; name each of them in the manifest")
    if found.get("is_live"):
        raise RefusedError("is live; name a recording")
    chosen = _best_file(found.get("formats") or [found], options.most_height)
    return SiteVideo(
        url=chosen["url"],
        headers=_sent_headers(chosen.get("http_headers") or {}),
        page=_line(found.get("webpage_url") or url),
        title=_line(found.get("title")),
        author=_line(found.get("uploader") or found.get("channel") or found.get("creator")),
        licence=_line(found.get("license")),
    )


def _best_file(formats: list[dict[str, Any]], most_height: int) -> dict[str, Any]:
    """The largest picture up to a height among the files that plain HTTP gives; sound is not needed."""

    def rank(one: dict[str, Any]) -> tuple[bool, float, float]:
        height = _number(one.get("height"))
        fits = height <= most_height
        return fits, height if fits else -height, _number(one.get("tbr"))

    files = [
        one
        for one in formats
        if one.get("vcodec") != "none"
        and isinstance(one.get("url"), str)
        and one.get("protocol", "http") in ("http", "https")
        and not one.get("has_drm")
    ]
    if not files:
        raise FailedError("the site gives no video as one file by plain HTTP (but streams in pieces, or protected)")
    return max(files, key=rank)


def _extractors(client: WebClient, may_be_local: bool, refusals: list[RefusedError]) -> Any:
    """A `YoutubeDL` that reads pages through our client; what that refuses is put into `refusals`."""
    import yt_dlp
    import yt_dlp.globals
    from yt_dlp.networking.common import RequestHandler, Response
    from yt_dlp.networking.exceptions import HTTPError, TransportError

    class PoliteRH(RequestHandler):
        """Sends requests by our client."""

        _SUPPORTED_URL_SCHEMES = ("http", "https")

        def _check_extensions(self, extensions: dict[str, Any]) -> None:
            # Whatever is asked for beyond a plain request (other certificates, looking like a browser) is not done.
            extensions.clear()

        def _check_proxies(self, proxies: object) -> None:
            del proxies  # there are none

        def _send(self, request: Any) -> Response:
            headers = _sent_headers(request.headers)
            body = request.data
            if body is not None and not isinstance(body, bytes):
                body = body.read() if hasattr(body, "read") else b"".join(body)
            try:
                with client.answer(
                    request.url, headers, method=request.method, body=body, may_be_local=may_be_local
                ) as answer:
                    content = answer.content(_MOST_PAGE_BYTES) if request.method != "HEAD" else b""
                    fields = dict(answer.headers.items())
                    response = Response(io.BytesIO(content), answer.url, fields, answer.status)
            except RefusedError as error:
                refusals.append(error)
                raise TransportError(str(error)) from error
            except FailedError as error:
                raise TransportError(str(error)) from error
            if response.status >= 400:
                raise HTTPError(response)
            return response

    handlers: Any = [PoliteRH]

    class PoliteReader(yt_dlp.YoutubeDL):
        """Has no way to the network but our client."""

        @property
        def _request_director(self) -> Any:
            if "_polite_director" not in self.__dict__:
                self.__dict__["_polite_director"] = self.build_request_director(handlers)
            return self.__dict__["_polite_director"]

    # Plug-ins are code in folders of the user that extractors would run.
    yt_dlp.globals.plugin_dirs.value = []
    yt_dlp.globals.all_plugins_loaded.value = True
    quiet = _Quiet()
    settings: Any = (
        {
            "quiet": True, "no_warnings": True, "noprogress": True, "logger": quiet, "simulate": True,
            "noplaylist": True, "extract_flat": "in_playlist", "playlist_items": "1", "restrictfilenames": True,
            "postprocessors": [], "fixup": "never", "cachedir": False, "cookiefile": None, "cookiesfrombrowser": None,
            "usenetrc": False, "netrc_cmd": None, "enable_file_urls": False, "geo_bypass": False, "proxy": "",
            "allow_unplayable_formats": False, "writeinfojson": False, "writesubtitles": False, "overwrites": False,
            "external_downloader": None, "ffmpeg_location": None, "js_runtimes": {}, "extractor_retries": 1,
            "ignore_no_formats_error": False, "socket_timeout": client.options.timeout_seconds,
        }
    )  # fmt: skip
    return PoliteReader(settings)


class _Quiet:
    """Takes what yt-dlp would print."""

    def debug(self, message: str) -> None:
        """Nothing."""

    def warning(self, message: str) -> None:
        """Nothing."""

    def error(self, message: str) -> None:
        """Nothing."""


def _sent_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers that extractors add; who we are is not theirs to say."""
    return {
        name: str(value)
        for name, value in headers.items()
        if name.lower() not in _KEPT_HEADERS and not name.lower().startswith(_OF_BROWSERS)
    }


def _number(value: object) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if is_number else 0.0  # pyright: ignore[reportArgumentType]


def _line(value: object, most: int = _MOST_TEXT) -> str:
    """Text of a page as one line."""
    return " ".join(str(value or "").split())[:most]
