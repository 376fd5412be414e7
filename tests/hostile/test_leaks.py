"""What runs write of themselves names no home folder, no user, no password and no place where a photo was taken."""

import json
import pathlib

import pytest

from hardmo_jax.labels import provenance
from hardmo_jax.labels.private_text import public_text

#: What is secret in each, by the word `geheim`; `anna` is the user.
COMMANDS = {
    "password in an address": ["--input=rtsp://anna:geheim@10.0.0.5/cam"],
    "user alone": ["--input=https://anna@host/clip.mp4"],
    "password with a slash": ["--input=rtsp://anna:ge/heim-geheim@host/cam"],
    "password with an at": ["--input=rtsp://anna:x@geheim@host/cam"],
    "two addresses": ["--input=http://anna:geheim@one/a,http://anna:geheim@two/b"],
    "token": ["--input=https://host/clip.mp4?token=geheim"],
    "token behind others": ["--input=https://host/clip.mp4?v=7&access_token=geheim&t=9"],
    "token in capitals": ["--input=https://host/clip.mp4?TOKEN=geheim"],
    "key of a map service": ["--input=https://host/clip.mp4?key=geheim"],
    "camel case": ["--input=https://host/clip.mp4?apiKey=geheim&accessToken=geheim"],
    "signature of S3": [
        "--input=https://b.s3.amazonaws.com/a.mp4?X-Amz-Credential=geheim%2F2026&X-Amz-Signature=geheim"
        "&X-Amz-Security-Token=geheim"
    ],
    "signature of Azure": ["--input=https://a.blob.core.windows.net/a.mp4?sv=2026&sig=geheim%3D"],
    "signature of Google": ["--input=https://storage.googleapis.com/a.mp4?GoogleAccessId=anna&Signature=geheim"],
    "user and password in a query": ["--input=http://cam/video?user=anna&pwd=geheim"],
    "behind a hash": ["--input=https://host/#access_token=geheim"],
    "in a path": ["--input=rtsp://cam/user=anna_password=geheim_channel=1.sdp"],
    "behind a semicolon": ["--input=https://host/clip;jsessionid=geheim?x=1"],
    "escaped": ["--input=rtmp://cam/live%3Fkey%3Dgeheim"],
    "flag": ["--token=geheim"],
    "flag and word": ["--password", "geheim"],
    "flag of one dash": ["-token", "geheim"],
    "flag that contains it": ["--hub_api_key=geheim", "--my-secret-thing=geheim"],
    "camel flag": ["--apiKey=geheim", "--accessToken", "geheim"],
    "flag of the configuration": ["--config.hub.token=geheim"],
    "word that begins with a dash": ["--password", "--geheim"],
    "header": ["--header=Authorization: Bearer geheimgeheim"],
    "basic header": ["--header", "Authorization: Basic Z2VoZWltOmdlaGVpbQgeheim=="],
    "cookie": ["--header=Cookie: session=geheim"],
    "assignment": ["PASSWORD=geheim", "AWS_SECRET_ACCESS_KEY=geheim"],
    "JSON": ['--words={"password": "geheim", "n": 3}'],
    "token of a hub by itself": ["--note=hf_geheimABCDEFGHIJKLMNOPQRSTUV"],
    "token of a code host by itself": ["ghp_geheimABCDEFGHIJKLMNOPQRSTUVWXYZ012345"],
    "key of a cloud by itself": ["AKIAGEHEIM0123456789"],
    "web token by itself": ["eyJhbGciOiJIUzI1NiJ9.eyJnZWhlaW0iOjF9geheim.c2lnbmF0dXJl-geheim"],
}


def record_of(command, **config):
    return provenance.RunRecord(command=["tools/annotate.py", *command], config=config, repository=pathlib.Path("/"))


@pytest.mark.parametrize("name", COMMANDS)
def test_credentials_of_a_command_are_not_recorded(name):
    text = json.dumps(record_of(COMMANDS[name]).to_dict()["command"])
    assert "geheim" not in text.lower()
    assert "anna" not in text


@pytest.mark.parametrize("name", [name for name in COMMANDS if COMMANDS[name][0].startswith("--input=")])
def test_credentials_in_a_configuration_or_result_are_not_recorded(name):
    value = COMMANDS[name][0].removeprefix("--input=")
    record = record_of([], input=value, nested={"inputs": [value], value: 1})
    record.add("warnings", [f"{value}: took long"])
    text = json.dumps(record.to_dict())
    assert "geheim" not in text
    assert "anna" not in text


#: What anybody may know stays as it is: a record that says nothing is none.
HARMLESS = (
    "--input=https://host/watch?v=dQw4w9WgXcQ&t=9", "https://www.tiktok.com/@dancer/video/123",
    "--config=configs/normal.py", "--config.perception.keypoints_layout=openpose25", "--config.fit.author=me",
    "--key_frames=3", "--seed=7", "rtsp://10.0.0.5:554/cam/1", "https://host:8080/@dancer/clip", "walk@home.mp4",
    "--monkey=1", "tokens", "a/b/token_pass.mp4", "--config.output.categories=kick=front", "Basic training",
    "the bearer of bad news", "--secretary=no", "x=1&y=2", "C:\\media\\a.mp4", "12:30 kick: left",
)  # fmt: skip


@pytest.mark.parametrize("text", HARMLESS)
def test_what_anybody_may_know_is_recorded(text):
    assert public_text(text) == text
    assert record_of([text]).to_dict()["command"][1] == text


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("HOME/clips/a.mp4", "~/clips/a.mp4"),
        ("--input=HOME/a.mp4,HOME/b.mp4", "--input=~/a.mp4,~/b.mp4"),
        ("file://HOME/a.mp4", "file://~/a.mp4"),
        ("HOME", "~"),
        ("cannot read HOME: no such file", "cannot read ~: no such file"),
        ("(HOME)", "(~)"),
        ("HOME2/clips", "HOME2/clips"),
        ("REAL/clips/a.mp4", "~/clips/a.mp4"),
    ],
)
def test_the_home_folder_is_not_told_by_whichever_name(tmp_path, monkeypatch, text, told):
    (real := tmp_path / "disk" / "anna").mkdir(parents=True)
    (home := tmp_path / "anna").symlink_to(real)
    monkeypatch.setenv("HOME", str(home))

    def filled(words):
        return words.replace("HOME", str(home)).replace("REAL", str(real))

    assert public_text(filled(text)) == filled(told)
