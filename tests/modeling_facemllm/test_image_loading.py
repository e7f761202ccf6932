"""Whatever a photo comes as, the processor sees the same upright RGB picture."""

import base64
import io
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import torch
from PIL import Image

from modeling_facemllm.image_loading_facemllm import load_image, load_images


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def server(photo):
    """A loopback web server: /photo.png, /page.html, /slow; anything else is 404."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path == "/slow":
                release.wait(20)
                return
            body = {"/photo.png": png(photo), "/page.html": b"<html>no image</html>"}.get(self.path)
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


def test_something_else_is_a_type_error():
    with pytest.raises(TypeError, match=r"\bset\b.*PIL image, path, URL"):
        load_image({1, 2})


def test_a_url_is_downloaded(server, photo):
    np.testing.assert_array_equal(np.asarray(load_image(f"{server}/photo.png")), np.asarray(photo))


@pytest.mark.parametrize("page", ["missing.png", "page.html"])
def test_a_url_without_an_image_is_named(server, page):
    with pytest.raises(ValueError, match=rf"image '{server}/{page}': "):
        load_image(f"{server}/{page}")


def test_a_silent_server_is_given_up(server):
    with pytest.raises(ValueError, match=r"/slow': .*timed out"):
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
    with pytest.raises(TypeError, match=r"\bid, image\b.*pass the picture in it"):
        load_image({"id": "1", "image": photo})
