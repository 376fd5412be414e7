"""The sound of a video beside pictures that were drawn from it."""

import fractions
import os
import pathlib
from typing import Any

from hardmo_jax.perception import video_stream

#: Codecs of sound that an MP4 file holds as they are and that players know there; others become AAC.
COPIED_CODECS = ("aac", "mp3", "ac3", "eac3", "alac", "opus", "flac")
_MATCHING_RATES = (48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000)


def add_sound(
    pictures: str | os.PathLike[str],
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    start_seconds: float = 0.0,
    end_seconds: float | None = None,
) -> str | None:
    """Put the packets of a video without sound and the sound of another one into one MP4 file.

    Args:
        pictures: MP4 file whose first frame is at time 0.
        source: Video whose sound is taken; its first sound stream is.
        target: File to write; overwritten.
        start_seconds: Time in the source, from its first frame on, that the first picture is of.
        end_seconds: And that of the last one; sound beyond it is left out.

    Returns:
        `copied`, `encoded as aac`, or None where the source has no sound that can be read; the file is written all the
        same.

    Raises:
        OSError: If a file cannot be read or written.
        hardmo_jax.perception.video.MediaError: If the source is no video that is read.
    """
    import av
    import av.error

    with (
        av.open(os.fspath(pictures)) as drawn,
        video_stream.open_container(pathlib.Path(source)) as filmed,
        av.open(os.fspath(target), "w", format="mp4", options={"movflags": "+faststart"}) as output,
    ):
        picture_stream = drawn.streams.video[0]
        picture_out = output.add_stream_from_template(picture_stream)
        sound = next((stream for stream in filmed.streams.audio if stream.codec_context is not None), None)
        how, sound_out, packets = None, None, iter(())
        if sound is not None:
            first = start_seconds + _first_picture(filmed)
            end = None if end_seconds is None else end_seconds - start_seconds
            # By the format: `mp3float` is a decoder of mp3.
            if sound.codec_context.codec.canonical_name in COPIED_CODECS:
                how, sound_out = "copied", output.add_stream_from_template(sound)
                packets = _copied(filmed, sound, sound_out, first, end)
            else:
                how = "encoded as aac"
                rate = min(_MATCHING_RATES, key=lambda known: abs(known - (sound.codec_context.sample_rate or 48000)))
                sound_out = output.add_stream("aac", rate=rate)
                sound_out.layout = "mono" if sound.codec_context.channels == 1 else "stereo"
                packets = _encoded(filmed, sound, sound_out, first, end)
        waiting = next(packets, None)
        for packet in drawn.demux(picture_stream):
            if packet.dts is None:
                continue
            shown = float(packet.dts * packet.time_base)
            packet.stream = picture_out
            # In the order of time, so that players need not jump through the file.
            while waiting is not None and waiting[0] <= shown:
                output.mux(waiting[1])
                waiting = next(packets, None)
            output.mux(packet)
        while waiting is not None:
            output.mux(waiting[1])
            waiting = next(packets, None)
    return how


def _first_picture(filmed: Any) -> float:
    """When the first picture of a video is shown, on the clock of its container, seconds."""
    from av.stream import Disposition

    streams = [one for one in filmed.streams.video if not one.disposition & Disposition.attached_pic]
    if not streams or streams[0].start_time is None:
        return 0.0
    return float(streams[0].start_time * streams[0].time_base)


def _copied(filmed: Any, sound: Any, sound_out: Any, first: float, end: float | None) -> Any:
    """Packets on the clock of the pictures with their times; damaged ones end it."""
    import av.error

    shift = round(first / sound.time_base)
    packets = filmed.demux(sound)
    while True:
        try:
            packet = next(packets, None)
        except av.error.FFmpegError:
            return
        if packet is None:
            return
        if packet.dts is None or packet.pts is None or packet.size == 0:
            continue
        time = float(packet.pts * packet.time_base) - first
        if end is not None and time >= end:
            return
        if time < 0:
            continue
        packet.pts -= shift
        packet.dts = max(packet.dts - shift, 0)
        packet.stream = sound_out
        yield time, packet


def _encoded(filmed: Any, sound: Any, sound_out: Any, first: float, end: float | None) -> Any:
    """The same of sound that is decoded and encoded anew."""
    import av
    import av.error

    context = sound_out.codec_context
    resampler = av.AudioResampler(format="fltp", layout=context.layout, rate=context.sample_rate)
    clock = fractions.Fraction(1, context.sample_rate)
    written = -1
    frames = filmed.decode(sound)
    while True:
        try:
            frame = next(frames, None)
        except av.error.FFmpegError:
            frame = None
        if frame is not None:
            time = frame.time - first if frame.time is not None else 0.0
            if end is not None and time >= end:
                frame = None
            elif time < 0:
                continue
        for part in resampler.resample(frame):
            if written < 0:
                written = 0 if frame is None or frame.time is None else max(round((frame.time - first) / clock), 0)
            part.pts, part.time_base = written, clock
            written += part.samples
            for packet in context.encode(part):
                packet.stream = sound_out
                yield float(packet.pts * packet.time_base), packet
        if frame is None:
            break
    for packet in context.encode(None):
        packet.stream = sound_out
        yield float(packet.pts * packet.time_base), packet
