"""Photos from wherever: folders in natural order without a list in memory, and videos by time."""

import io
import os
import shutil

import cv2
import numpy as np
import pytest
from PIL import Image

from facemllm.analysis import photos as photo_sources
from facemllm.analysis.photos import Ignored, find_photos
from modeling_facemllm.image_loading_facemllm import UnreadableImage


def found(*inputs, every=1.0, wanted=lambda name, frame: True):
    return list(find_photos(map(str, inputs), every=every, wanted=wanted, ended=print, ignored=Ignored()))


def below(folder, photos):
    return [os.path.relpath(photo.name, folder) for photo in photos]


@pytest.fixture
def folder(tmp_path):
    for name in ("b/2.jpg", "b/10.png", "a1.WEBP", "a12.tiff", "a2.gif", ".hidden/x.jpg", "._a1.jpg", "b/labels.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_natural_order_through_folders_without_hidden_files(folder):
    assert below(folder, found(folder)) == ["a1.WEBP", "a2.gif", "a12.tiff", "b/2.jpg", "b/10.png"]


def test_links_that_lead_back_are_not_followed_others_are(folder, tmp_path_factory):
    (folder / "b" / "up").symlink_to(folder)
    (folder / "self.jpg").symlink_to("self.jpg")
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "z.jpg").touch()
    (folder / "linked").symlink_to(elsewhere)
    assert below(folder, found(folder))[3:] == ["b/2.jpg", "b/10.png", "linked/z.jpg", "self.jpg"]


def test_a_folder_too_large_for_memory_is_sorted_on_the_disk(folder, monkeypatch):
    for index in range(40):
        (folder / f"{index}.jpg").touch()
    in_memory = below(folder, found(folder))
    monkeypatch.setattr(photo_sources, "SORTED_AT_ONCE", 7)
    assert below(folder, found(folder)) == in_memory


def test_a_folder_that_cannot_be_read_when_its_turn_comes_is_told(folder):
    (folder / "c.jpg").touch()
    photos = find_photos([str(folder)], every=1, wanted=lambda *_: True, ended=print, ignored=Ignored())
    first = next(photos)
    shutil.rmtree(folder / "b")
    rest = list(photos)
    assert [photo.error for photo in rest if photo.error] == ["No such file or directory"]
    assert below(folder, [first, *rest]) == ["a1.WEBP", "a2.gif", "a12.tiff", "b", "c.jpg"]


def test_files_of_other_kinds_are_counted(folder):
    ignored = Ignored()
    list(find_photos([str(folder)], every=1, wanted=lambda *_: True, ended=print, ignored=ignored))
    assert ignored.files == 1


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """Two and a half seconds at ten frames a second; the frames grow brighter."""
    path = tmp_path_factory.mktemp("videos") / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48))
    for index in range(25):
        writer.write(np.full((48, 64, 3), 10 * index, np.uint8))
    writer.release()
    return path


@pytest.mark.parametrize("every,frames", [(1.0, [0, 10, 20]), (0.1, list(range(25))), (0, list(range(25))), (9, [0])])
def test_frames_by_time(video, every, frames):
    photos = found(video, every=every)
    assert [photo.frame for photo in photos] == frames
    assert [photo.time for photo in photos] == pytest.approx([frame / 10 for frame in frames])
    brightness = [np.asarray(photo.load().pixels).mean() for photo in photos]
    assert brightness == pytest.approx([10 * frame for frame in frames], abs=4)


def test_frames_that_are_done_are_left_out(video):
    assert [photo.frame for photo in found(video, wanted=lambda name, frame: frame != 10)] == [0, 20]


def test_a_video_that_breaks_off_gives_what_it_has_and_says_so(video, tmp_path):
    cut = tmp_path / "cut.avi"
    cut.write_bytes(video.read_bytes()[: video.stat().st_size * 2 // 3])
    (tmp_path / "text.mp4").write_text("no video")
    first, *_, broken = found(cut)
    assert (first.frame, first.error) == (0, None)
    assert "of 25 frames" in broken.error
    assert found(tmp_path / "text.mp4")[0].error == "OpenCV cannot read this video"


def test_a_damaged_video_loses_nothing_before_the_damage(video, tmp_path):
    """`video` again, with bytes of its frames changed: every frame is a photo or says what is wrong."""
    whole, random = video.read_bytes(), np.random.default_rng(0)
    for number in range(20):
        damaged = bytearray(whole)
        for place in random.integers(0, len(whole), 30):
            damaged[place] = random.integers(0, 256)
        path = tmp_path / f"{number}.avi"
        path.write_bytes(damaged)
        for photo in found(path, every=0):
            assert photo.error or photo.load().pixels.mode == "RGB"


@pytest.mark.parametrize("text", ["ffconcat version 1.0\nfile clip.avi\n", "ffconcat version 1.0\nfile list.mp4\n"])
def test_a_playlist_opens_no_other_file(text, video, tmp_path):
    shutil.copy(video, tmp_path / "clip.avi")
    (tmp_path / "list.mp4").write_text(text)
    assert [photo.error for photo in found(tmp_path / "list.mp4")] == ["OpenCV cannot read this video"]


def test_a_picture_is_not_read_as_a_video(tmp_path):
    """OpenCV reads a picture whose name has a number as the first of a film, past the limits of pictures."""
    Image.new("RGB", (64, 64)).save(tmp_path / "face-01.mp4", "PNG")
    assert [photo.error for photo in found(tmp_path / "face-01.mp4")] == ["OpenCV cannot read this video"]


def test_a_video_of_too_many_pixels_is_not_decoded(video, monkeypatch):
    monkeypatch.setattr("datasets_scripts.sources.videos.MAX_PIXELS", 3_000)
    assert [photo.error for photo in found(video)] == ["it has 64×48 pixels, more than 0.003 megapixels"]


def test_a_url_of_a_list_leads_to_no_private_network_unless_asked(monkeypatch):
    def listed(**options):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"http://127.0.0.1:1/a.jpg\n")))
        options |= {"every": 1, "wanted": lambda *_: True, "ended": print, "ignored": Ignored()}
        return next(find_photos(["-"], **options))

    (typed,) = found("http://127.0.0.1:1/a.jpg")
    for photo, reason in ((listed(), "private network"), (listed(private_hosts=True), "refused"), (typed, "refused")):
        with pytest.raises(UnreadableImage, match=reason):
            photo.load()


@pytest.mark.parametrize("name", ["pipe.mp4", "pipe.jpg"])
def test_a_pipe_is_not_waited_for(name, tmp_path):
    os.mkfifo(tmp_path / name)
    (photo,) = found(tmp_path / name)
    with pytest.raises(UnreadableImage, match="regular file"):
        photo.load()


@pytest.mark.parametrize("kind", ["jpg", "png"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_a_large_photo_is_looked_at_at_half_its_size_and_says_the_whole(kind, orientation, tmp_path, monkeypatch):
    monkeypatch.setattr(photo_sources, "LARGE", 5000)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", (120, 80), "red").save(tmp_path / f"large.{kind}", exif=exif)
    (photo,) = found(tmp_path / f"large.{kind}")
    picture = photo.load()
    assert picture.size == ((120, 80) if orientation == 1 else (80, 120))
    assert picture.pixels.size == ((60, 40) if orientation == 1 else (40, 60))
