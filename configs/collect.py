"""Collecting videos and photos that can be answered for, from a manifest of sources.

Command:  python -m tools.collect --manifest=sources.csv --output_dir=out/collect --config.fetch.contact=me@example.org
Hardware: anything; the pauses between requests and the network set the pace.
Expected: a file and a row a source, copies and what has no licence told apart; a second run fetches nothing.
Variants: `full`, and `smoke` (small files of this machine's own server) for tests.

docs/collect.md says what to look at before anything is fetched.
"""

from ml_collections import config_dict


def get_config(variant: str = "full") -> config_dict.ConfigDict:
    """Configuration of `tools.collect`."""
    if variant not in ("full", "smoke"):
        raise ValueError(f"unknown variant {variant!r} of configs/collect.py; known: full, smoke")
    is_smoke = variant == "smoke"
    config = config_dict.ConfigDict()
    config.fetch = config_dict.create(
        contact="",  # mail address or page of who collects; hosts see it
        min_seconds_between_requests=0.0 if is_smoke else 5.0,  # of one host
        timeout_seconds=2.0 if is_smoke else 30.0,
        least_bytes_per_second=1000.0,
        most_redirects=5,
        most_tries=4,
        backoff_seconds=0.05 if is_smoke else 4.0,  # doubles with each try
        longest_wait_seconds=2.0 if is_smoke else 300.0,  # that a host may ask for
        most_megabytes_per_file=50.0 if is_smoke else 4000.0,
        most_gigabytes=1.0 if is_smoke else 500.0,
        allow_local=is_smoke,
        permitted_hosts=(),  # whose owners have allowed this collection: their robots.txt is not asked
    )
    config.sites = config_dict.create(
        allow=False,  # pages of video sites, by yt-dlp; read docs/collect.md first
        most_height=1080,
    )
    config.find_duplicates = True
    config.duplicates = config_dict.create(
        step_seconds=0.25,
        most_seconds=120.0,  # from the beginning of a video
        least_likeness=0.8,  # correlation of mean pictures of clips that are looked at closely
        least_agreement=0.55,  # correlation of their changes over time
        least_still_likeness=0.97,  # of photos
        least_overlap=0.5,  # of the shorter one
    )
    config.hosts_at_once = 4
    config.local_files = "copy"  # or `reference`: they stay where they are
    config.rejected = "aside"  # or `delete`: copies, and what is no media
    config.check_hashes = True  # else files that are there are told by their size
    config.again = False  # what gave no media the last time is tried once more
    config.max_pixels = 200_000_000
    return config
