"""Whatever a photo comes as, the processor sees the same upright RGB picture."""

import base64
import io
import os
import socket
import struct
import subprocess
import sys
import threading
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import torch
from PIL import Image

from modeling_facemllm.image_loading_facemllm import (
    UnreadableImage,
    load_image,
    load_images,
    load_listed_image,
    open_image,
    upright_size,
)


@pytest.fixture
def server(photo):
    """A loopback web server: /photo.png, /page.html, /slow; anything else is 404."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path == "/slow":
                release.wait(20)
                return
            body = {"/photo.png": encoded(photo, "PNG"), "/page.html": b"<html>no image</html>"}.get(self.path)
            self.send_response(404 if body is None else 200)
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *args):
            pass

    release = threading.Event()
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{httpd.server_port}"
    release.set()
    httpd.shutdown()
    thread.join()
    httpd.server_close()


FORMS = {
    "pil": lambda photo, path: photo,
    "path-string": lambda photo, path: str(path),
    "path": lambda photo, path: path,
    "bytes": lambda photo, path: path.read_bytes(),
    "base64": lambda photo, path: base64.b64encode(path.read_bytes()).decode(),
    "data-url": lambda photo, path: "data:image/png;base64," + base64.encodebytes(path.read_bytes()).decode(),
    "datasets-bytes": lambda photo, path: {"bytes": path.read_bytes(), "path": None},
    "datasets-path": lambda photo, path: {"bytes": None, "path": str(path)},
    "hwc": lambda photo, path: np.asarray(photo),
    "chw": lambda photo, path: np.asarray(photo).transpose(2, 0, 1),
    "float-to-1": lambda photo, path: np.asarray(photo).astype(np.float32) / 255,
    "float-to-255": lambda photo, path: np.asarray(photo).astype(np.float64),
    "int64": lambda photo, path: np.asarray(photo).astype(np.int64),
    "uint16": lambda photo, path: np.asarray(photo).astype(np.uint16) * 257,
    "tensor-hwc": lambda photo, path: torch.tensor(np.asarray(photo)),
    "tensor-chw": lambda photo, path: torch.tensor(np.asarray(photo)).permute(2, 0, 1),
    "tensor-float": lambda photo, path: (torch.tensor(np.asarray(photo)).permute(2, 0, 1) / 255).requires_grad_(),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_every_form_of_a_photo_gives_the_same_pixels(form, photo, tmp_path):
    photo.save(tmp_path / "photo.png")
    loaded = load_image(form(photo, tmp_path / "photo.png"))
    assert loaded.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(loaded), np.asarray(photo))


def test_where_both_layouts_fit_arrays_are_channels_last_and_tensors_channels_first():
    pixels = np.arange(3 * 5 * 3, dtype=np.uint8).reshape(3, 5, 3)
    np.testing.assert_array_equal(np.asarray(load_image(pixels)), pixels)
    np.testing.assert_array_equal(np.asarray(load_image(torch.tensor(pixels))), pixels.transpose(1, 2, 0))


def test_exif_orientation_is_respected(tmp_path, photo):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show it rotated clockwise by 90 degrees
    photo.save(tmp_path / "turned.png", exif=exif)
    upright = np.rot90(np.asarray(photo), k=-1)
    np.testing.assert_array_equal(np.asarray(load_image(tmp_path / "turned.png")), upright)
    np.testing.assert_array_equal(np.asarray(load_image(Image.open(tmp_path / "turned.png"))), upright)


def test_transparency_lies_over_white():
    layer = Image.new("RGBA", (2, 1), (255, 0, 0, 0))
    layer.putpixel((1, 0), (0, 0, 255, 128))
    assert list(load_image(layer).get_flattened_data()) == [(255, 255, 255), (127, 127, 255)]
    assert load_image(np.asarray(layer)).getpixel((0, 0)) == (255, 255, 255)
    palette = Image.new("P", (1, 1), 0)
    palette.putpalette([0, 255, 0])
    assert load_image(palette).getpixel((0, 0)) == (0, 255, 0)
    palette.info["transparency"] = 0
    assert load_image(palette).getpixel((0, 0)) == (255, 255, 255)
    assert load_image(Image.new("LA", (1, 1), (10, 0))).getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (Image.new("CMYK", (1, 1), (0, 255, 255, 0)), (255, 0, 0)),
        (Image.new("L", (1, 1), 77), (77, 77, 77)),
        (Image.new("1", (1, 1), 1), (255, 255, 255)),
        (Image.fromarray(np.full((1, 1), 77 * 257, np.uint16)), (77, 77, 77)),
        (Image.fromarray(np.full((1, 1), 77 * 257, np.int32)), (77, 77, 77)),
        (Image.fromarray(np.full((1, 1), 0.5, np.float32)), (128, 128, 128)),
    ],
    ids=["cmyk", "gray", "binary", "16-bit", "32-bit", "float"],
)
def test_other_modes_become_rgb(image, expected):
    assert load_image(image).getpixel((0, 0)) == expected


def test_a_16_bit_file_keeps_its_brightness(tmp_path):
    Image.fromarray(np.full((3, 3), 40000, np.uint16)).save(tmp_path / "deep.png")
    assert load_image(tmp_path / "deep.png").getpixel((1, 1)) == (156, 156, 156)


def test_an_rgb_image_is_not_copied(photo):
    assert load_image(photo) is photo


@pytest.mark.parametrize("content", [b"not an image", b""], ids=["text", "empty"])
def test_a_broken_file_is_named(content, tmp_path):
    path = tmp_path / "broken.jpg"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"image '.*broken\.jpg': "):
        load_image(path)


def test_a_file_that_ends_early_is_named(tmp_path, photo):
    photo.save(tmp_path / "whole.png")
    (tmp_path / "half.png").write_bytes((tmp_path / "whole.png").read_bytes()[:2000])
    for source in (str(tmp_path / "half.png"), Image.open(tmp_path / "half.png")):
        with pytest.raises(ValueError, match=r"image '.*half\.png': "):
            load_image(source)


def test_a_path_that_does_not_exist_is_named():
    with pytest.raises(ValueError, match=r"'no/such/face\.jpg': .*file\b.*\bURL\b.*base64"):
        load_image("no/such/face.jpg")


@pytest.mark.parametrize("array", [np.zeros((2, 5, 7)), np.zeros((0, 4, 3)), np.zeros((3,))], ids=str)
def test_an_array_that_is_no_image_is_refused(array):
    with pytest.raises(ValueError, match="×".join(map(str, array.shape)) + r"\b.*\(H, W, C\)"):
        load_image(array)


@pytest.mark.parametrize("value", [-0.5, 300.0, float("nan")])
def test_normalised_pixels_are_not_taken_for_a_picture(value):
    with pytest.raises(ValueError, match=r"4×4×3\b.* 0 to 255\b.*before normalisation.*do_rescale=False"):
        load_image(np.full((4, 4, 3), value))


def test_a_picture_without_pixels_is_refused():
    with pytest.raises(ValueError, match=r"image 'RGB 0×5': .*pixels"):
        load_image(Image.new("RGB", (0, 5)))


def test_something_else_is_named_by_its_type():
    with pytest.raises(UnreadableImage, match=r"set.*pass a PIL image, path, URL"):
        load_image({1, 2})


def test_a_url_is_downloaded(server, photo):
    np.testing.assert_array_equal(np.asarray(load_image(f"{server}/photo.png")), np.asarray(photo))


@pytest.mark.parametrize("page", ["missing.png", "page.html"])
def test_a_url_without_an_image_is_named(server, page):
    with pytest.raises(ValueError, match=rf"image '{server}/{page}': "):
        load_image(f"{server}/{page}")


def test_a_silent_server_is_given_up(server):
    with pytest.raises(ValueError, match=r"/slow': .*0\.3 s"):
        load_image(f"{server}/slow", timeout=0.3)


def test_an_unreachable_server_is_named():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/face.png"
    with pytest.raises(ValueError, match=f"image '{url}': "):
        load_image(url)


def test_nested_lists_and_batches_of_arrays_are_flattened_in_order(photo, other_photo):
    batch = torch.zeros(2, 3, 4, 5, dtype=torch.uint8)
    batch[1] = 9
    loaded = load_images([[photo], [], [other_photo, batch]])
    assert [image.size for image in loaded] == [photo.size, other_photo.size, (5, 4), (5, 4)]
    assert loaded[3].getpixel((0, 0)) == (9, 9, 9)


def test_a_row_of_a_data_set_is_told_from_the_picture_in_it(photo):
    with pytest.raises(UnreadableImage, match=r"id, image.*pass the picture in it"):
        load_image({"id": "1", "image": photo})


def damaged_exif(orientation):
    """EXIF with an orientation beside a rational number with a negative denominator, which nobody can write again."""
    entries = [(0x0112, 3, 1, struct.pack("<HH", orientation, 0)), (0x011A, 5, 1, struct.pack("<I", 38))]
    table = b"".join(struct.pack("<HHI", *entry[:3]) + entry[3] for entry in entries)
    return b"Exif\0\0II*\0" + struct.pack("<IH", 8, len(entries)) + table + struct.pack("<Iii", 0, 1, -1)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_picture_is_turned_upright_whatever_else_its_exif_says(kind, tmp_path):
    left_red = Image.new("RGB", (32, 16), "blue")
    left_red.paste("red", (0, 0, 16, 16))
    left_red.save(tmp_path / "turned", kind, exif=damaged_exif(6))
    found = load_image(tmp_path / "turned")
    assert found.size == (16, 32) and found.getpixel((8, 4))[0] > 200 > 100 > found.getpixel((8, 28))[0]
    assert load_image(found).size == (16, 32)  # and not once more
    with open_image(tmp_path / "turned") as opened:
        assert upright_size(opened) == (16, 32)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_tiff_is_turned_once(orientation, tmp_path, photo):
    exif = Image.Exif()
    exif[0x0112] = orientation
    photo.save(tmp_path / "turned.tif", exif=exif)
    photo.save(tmp_path / "turned.png", exif=exif)
    expected = np.asarray(load_image(tmp_path / "turned.png"))
    np.testing.assert_array_equal(np.asarray(load_image(tmp_path / "turned.tif")), expected)


def test_what_a_decoder_raises_names_the_picture(tmp_path, photo):
    photo.resize((64, 64)).save(tmp_path / "whole.avif")
    whole, random = (tmp_path / "whole.avif").read_bytes(), np.random.default_rng(0)
    for _ in range(200):
        damaged = bytearray(whole)
        for place in random.integers(0, len(whole), 8):
            damaged[place] = random.integers(0, 256)
        try:
            assert load_image(bytes(damaged)).mode == "RGB"
        except UnreadableImage as error:
            assert error.reason and "\n" not in error.reason


@pytest.mark.parametrize("start", [b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"\xd7\xcd\xc6\x9a", b"<svg"])
def test_what_is_no_picture_format_starts_no_program(start, tmp_path, monkeypatch):
    (tmp_path / "gs").write_text(f"#!/bin/sh\ntouch {tmp_path / 'started'}\n")
    (tmp_path / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    (tmp_path / "photo.jpg").write_bytes(start + bytes(400))
    with pytest.raises(UnreadableImage, match=r"photo.jpg.*JPEG"):
        load_image(tmp_path / "photo.jpg")
    if start.startswith(b"%!PS"):
        with pytest.raises(UnreadableImage, match="EPS"):
            load_image(Image.open(tmp_path / "photo.jpg"))
    assert not (tmp_path / "started").exists()


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF", "TIFF", "AVIF"])
def test_a_picture_of_too_many_pixels_is_not_decoded(kind):
    with pytest.raises(UnreadableImage, match=r"200×100 pixels, more than 0.01 megapixels"):
        load_image(encoded(Image.new("RGB", (200, 100)), kind), max_pixels=10_000)


def test_a_jpeg_of_too_many_pixels_is_decoded_smaller():
    assert load_image(encoded(Image.new("RGB", (201, 100)), "JPEG"), max_pixels=10_000).size == (101, 50)
    with open_image(encoded(Image.new("RGB", (201, 100)), "JPEG"), max_pixels=10_000) as opened:
        assert upright_size(opened) == (201, 100) and load_image(opened).size == (101, 50)
    with pytest.raises(UnreadableImage, match=r"more than 0.0001 megapixels"):
        load_image(encoded(Image.new("RGB", (201, 100)), "JPEG"), max_pixels=100)
    with pytest.raises(UnreadableImage, match=r"more than 0.01 megapixels"):
        load_image(encoded(Image.new("RGB", (201, 100)), "JPEG", progressive=True), max_pixels=10_000)


def test_a_small_file_of_a_huge_picture_costs_nothing(tmp_path):
    code = "import resource, sys; from modeling_facemllm.image_loading_facemllm import load_image\n"
    code += "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
    code += "try: load_image(sys.argv[1])\nexcept ValueError as error: print(error.reason)\n"
    code += "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    path = tmp_path / "huge.png"
    path.write_bytes(png_of_zeros(13_370))
    assert path.stat().st_size < 400_000
    found = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True).stdout
    reason, kilobytes = found.splitlines()
    assert "13370×13370" in reason and int(kilobytes) < 20_000


def png_of_zeros(side):
    """A PNG of one bit a pixel."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    row = bytes(1 + -(-side // 8))
    head = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(row * side, 9))
        + chunk(b"IEND", b"")
    )


def test_a_file_of_too_many_bytes_is_not_read(tmp_path):
    (tmp_path / "long.png").write_bytes(bytes(1001))
    for source in (tmp_path / "long.png", bytes(1001), "A" * 2001):
        with pytest.raises(UnreadableImage, match=r"1,00[01]|2,001"):
            load_image(source, max_bytes=1000)


def test_what_is_no_regular_file_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "zero.jpg").symlink_to("/dev/zero")
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "loop.jpg").symlink_to(tmp_path / "loop.jpg")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket.jpg"))
        for name in ("pipe.jpg", "zero.jpg", "folder.jpg", "loop.jpg", "socket.jpg"):
            with pytest.raises(UnreadableImage, match=name):
                load_image(str(tmp_path / name))


def test_a_row_shows_its_own_bytes_or_a_file_where_the_rows_lie(tmp_path, photo):
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    photo.save(tmp_path / "secret.png")
    photo.save(corpus / "own.png")
    (corpus / "link.png").symlink_to(tmp_path / "secret.png")
    own = {"bytes": (tmp_path / "secret.png").read_bytes(), "path": "/etc/passwd"}
    for source in (own, {"path": str(corpus / "own.png")}, str(corpus / "own.png"), corpus / "own.png"):
        assert load_listed_image(source, [corpus]).size == photo.size
    strangers = (tmp_path / "secret.png", corpus / "link.png", corpus / "../secret.png", "http://127.0.0.1/a.png")
    for source in (*strangers, "file:///a.png", {"bytes": None, "path": "http://127.0.0.1/a.png"}):
        with pytest.raises(UnreadableImage, match=r"secret|link|127|file"):
            load_listed_image(source if isinstance(source, dict) else str(source), [corpus])


def test_a_relative_path_of_a_row_counts_from_the_folder_that_the_reader_names(tmp_path, photo, monkeypatch):
    (tmp_path / "pictures").mkdir()
    photo.save(tmp_path / "secret.png")
    photo.save(tmp_path / "pictures" / "own.png")
    assert load_listed_image("own.png", root=tmp_path / "pictures").size == photo.size
    monkeypatch.chdir(tmp_path / "pictures")
    with pytest.raises(UnreadableImage, match=r"own\.png.*image_root"):
        load_listed_image("own.png", [tmp_path / "pictures"])
    for source in ("../secret.png", str(tmp_path / "secret.png")):
        with pytest.raises(UnreadableImage, match=r"secret\.png.*image_root"):
            load_listed_image(source, root="")


def test_a_row_of_a_snapshot_in_the_hubs_cache_may_be_a_link_into_it(tmp_path, photo):
    snapshot = tmp_path / "datasets--o--n" / "snapshots" / "abc"
    for folder in (snapshot, tmp_path / "datasets--o--n" / "blobs"):
        folder.mkdir(parents=True)
    photo.save(tmp_path / "datasets--o--n" / "blobs" / "1234", "PNG")
    (snapshot / "1.png").symlink_to("../../blobs/1234")
    assert load_listed_image(snapshot / "1.png", [snapshot]).size == photo.size


def encoded(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def test_a_large_picture_is_halved_over_white(tmp_path):
    pixels = np.zeros((6, 4, 4), np.uint8)
    pixels[:2, :, 0], pixels[..., 3] = 200, 255
    pixels[4:, :, 3] = 0
    Image.fromarray(pixels).save(tmp_path / "p.png")
    halved = load_image(tmp_path / "p.png", halve_above=10)
    assert halved.size == (2, 3) and halved.mode == "RGB"
    assert [halved.getpixel((0, row)) for row in range(3)] == [(200, 0, 0), (0, 0, 0), (255, 255, 255)]


def test_a_halved_picture_is_turned_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (8, 4)).save(tmp_path / "p.png", exif=exif)
    assert load_image(tmp_path / "p.png", halve_above=8).size == (2, 4)
