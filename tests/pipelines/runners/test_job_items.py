import pathlib

import pytest

from hardmo_jax.perception.frame_choice import FrameChoice
from hardmo_jax.pipelines.annotate_options import AnnotateOptions
from hardmo_jax.pipelines.runners import job_items
from hardmo_jax.pipelines.runners.job_items import JobShard, items_of_sources


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(5):
        (folder / f"photo_{number}.jpg").write_bytes(b"x" * (number + 1))
    return folder


def test_videos_are_an_item_each_and_photos_some_at_a_time(tmp_path, photos, monkeypatch):
    monkeypatch.setattr(job_items, "PHOTOS_PER_ITEM", 2)
    video = tmp_path / "a b.mp4"
    video.write_bytes(b"12345")
    items = items_of_sources([video, photos, tmp_path / "absent.mov"], AnnotateOptions())
    assert [item.name[8:] for item in items] == ["a_b", "photos", "photos", "photos", "absent"]
    assert [item.name[:7] for item in items] == [f"000000{number}" for number in range(5)]
    assert [item.photos for item in items] == [
        (), ("photo_0.jpg", "photo_1.jpg"), ("photo_2.jpg", "photo_3.jpg"), ("photo_4.jpg",), (),
    ]  # fmt: skip
    assert [item.num_bytes for item in items] == [5, 3, 7, 5, None]


def test_photos_named_one_by_one_are_looked_at_together(photos, tmp_path):
    paths = [photos / f"photo_{number}.jpg" for number in (3, 1)]
    (item,) = items_of_sources(paths, AnnotateOptions())
    assert (item.source, item.photos) == (photos, ("photo_3.jpg", "photo_1.jpg"))
    other = tmp_path / "other.png"
    other.write_bytes(b"x")
    assert [item.photos for item in items_of_sources([paths[0], other, paths[1]], AnnotateOptions())] == [
        ("photo_3.jpg",), ("other.png",), ("photo_1.jpg",),
    ]  # fmt: skip


def test_stride_and_limit_choose_the_photos_of_a_folder(photos):
    options = AnnotateOptions(frames=FrameChoice(stride=2), limit_frames=2)
    (item,) = items_of_sources([photos], options)
    assert item.photos == ("photo_0.jpg", "photo_2.jpg")


def test_a_folder_whose_photos_have_files_of_keypoints_is_one_item(photos):
    (photos / "photo_1_keypoints.json").write_text("{}")
    (item,) = items_of_sources([photos], AnnotateOptions())
    assert (item.source, item.photos) == (photos, ())


def test_videos_beside_photos_are_inputs_too(photos):
    (photos / "clip.mp4").write_bytes(b"1")
    items = items_of_sources([photos, photos], AnnotateOptions())
    assert [(item.source.name, len(item.photos)) for item in items] == [("photos", 5), ("clip.mp4", 0)]


def test_names_are_safe_for_every_disk_and_sort_as_the_inputs_do(tmp_path):
    odd = ["../../etc/passwd.mp4", "CON.mp4", "x" * 300 + ".mp4", "\u202eevil.mp4", "-rf.mp4", "a\nb.mp4", "....mp4"]
    items = items_of_sources([pathlib.Path(name) for name in odd], AnnotateOptions())
    names = [item.name for item in items]
    assert names == sorted(names)
    assert len(set(names)) == len(names)
    for name in names:
        assert len(name) <= 80
        assert not set(name) & set('/\\:*?"<>|\n')
        assert name[:7].isdigit()


def test_shards_divide_the_items():
    shards = [JobShard.parse(f"{number}/3") for number in (1, 2, 3)]
    assert sorted(at for shard in shards for at in range(10)[shard.number - 1 :: shard.count]) == list(range(10))
    assert [JobShard().suffix, shards[1].suffix] == ["", "-2-of-3"]
