"""Whatever bytes, text or path comes to the picture door: an upright RGB picture, or `UnreadableImage` in a line."""

import base64
import io
import random

import pytest
from hypothesis import strategies as st
from PIL import Image

from modeling_facemllm.image_loading_facemllm import UnreadableImage, load_image, load_listed_image, open_image
from tests.robustness.cases import assert_one_line, bounded, examples, failed_before, fuzzed
from tests.robustness.mutations import FRAGMENTS, mutated

LIMITS = {"max_pixels": 12_000_000, "timeout": 2}
COST = {"seconds": 5, "mebibytes": 200}
"""What `docs/analysis.md` allows a photo of 12 megapixels."""


def noise(mode="RGB", size=(40, 24)):
    bands = len(Image.new(mode, (1, 1)).getbands())
    return Image.frombytes(mode, size, random.Random(0).randbytes(size[0] * size[1] * bands))


def encoded(format, image=None, **options):
    file = io.BytesIO()
    (image or noise()).save(file, format, **options)
    return file.getvalue()


def with_exif(orientation):
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = orientation, "maker"
    return exif


FILES = [
    encoded("JPEG", exif=with_exif(6)),
    encoded("JPEG", progressive=True),
    encoded("JPEG", noise("CMYK")),
    encoded("JPEG", noise("L")),
    encoded("MPO", save_all=True, append_images=[noise()]),
    encoded("PNG", noise("RGBA"), exif=with_exif(5)),
    encoded("PNG", noise().quantize(7), transparency=3),
    encoded("PNG", Image.new("I;16", (9, 7), 3000)),
    encoded("WEBP", exif=with_exif(8)),
    encoded("WEBP", noise("RGBA"), lossless=True),
    encoded("AVIF", exif=with_exif(3)),
    encoded("AVIF", noise("RGBA")),
    encoded("TIFF", exif=with_exif(6)),
    encoded("TIFF", compression="tiff_lzw"),
    encoded("TIFF", compression="jpeg"),
    encoded("TIFF", Image.new("F", (9, 7), 0.5)),
    encoded("GIF", noise().quantize(9), save_all=True, append_images=[noise().quantize(9)]),
    encoded("BMP"),
    encoded("BMP", noise().quantize(9)),
    encoded("JPEG2000"),
    encoded("JPEG2000", noise("RGBA"), irreversible=True),
    encoded("PPM"),
    encoded("PPM", noise("L")),
]
BEGINNINGS = ["data:", "data:image/png;base64,", "/", "/proc/self/", "/dev/", "~", "//"]
BEGINNINGS += ["http://127.0.0.1:9/", "http://[", "file:///"]
endings = st.text(max_size=50) | st.sampled_from([piece.decode("latin-1") for piece in FRAGMENTS])
texts = st.one_of(
    st.text(max_size=200),
    st.builds(lambda beginning, ending: beginning + ending, st.sampled_from(BEGINNINGS), endings),
    st.sampled_from(["/dev/zero", "/dev/stdin", "/proc/self/mem", ".", "\ud800", "a\0b", "x" * 5000, "FTP://a/b"]),
)
"""What is no picture; of URLs only such as lead nowhere."""


def check(read, source):
    """`read` gives an upright RGB picture, or refuses with a reason."""
    with bounded("pictures", **COST):
        try:
            picture = read(source)
        except UnreadableImage as error:
            assert_one_line(error)
            assert error.reason and len(error.reason) <= 300
            return
        assert isinstance(picture, Image.Image) and picture.mode == "RGB" and 0 not in picture.size
        assert picture.getexif().get(0x0112, 1) == 1
        picture.tobytes()


def through_open_image(source):
    with open_image(source, **LIMITS) as opened:
        return load_image(opened, **LIMITS)


@pytest.fixture(scope="module", autouse=True)
def _readers_are_loaded():
    for content in FILES:
        assert load_image(content, **LIMITS).mode == "RGB"
    list(map(through_open_image, FILES))


@fuzzed(content=mutated(FILES) | st.binary(max_size=500))
@examples("content", failed_before("pictures"))
def test_damaged_files(content):
    check(lambda source: load_image(source, **LIMITS), content)


@fuzzed(content=mutated(FILES))
@examples("content", failed_before("pictures"))
def test_damaged_files_that_are_opened_before_they_are_decoded(content):
    check(through_open_image, content)


@fuzzed(content=mutated(FILES))
def test_damaged_files_by_path_url_and_row(content, tmp_path_factory):
    folder = tmp_path_factory.getbasetemp()
    (folder / "picture").write_bytes(content)
    check(lambda source: load_image(source, **LIMITS), folder / "picture")
    url = "data:image/jpeg;base64," + base64.b64encode(content).decode()
    check(lambda source: load_image(source, **LIMITS), url)
    check(lambda source: load_listed_image(source, root=folder, **LIMITS), {"bytes": None, "path": "picture"})


@fuzzed(text=texts)
def test_texts_and_paths(text):
    check(lambda source: load_image(source, **LIMITS), text)
    check(lambda source: load_listed_image(source, root="/nowhere", **LIMITS), text)
    check(lambda source: load_listed_image(source, **LIMITS), {"path": text})
