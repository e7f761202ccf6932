"""Large pictures are looked at few at a time, however many readers there are."""

import subprocess
import sys

import pytest

from benchmarks.hostile_files import png_of_one_color

LOOKS_AT_NOTHING = """
import sys
from facemllm.analysis.analyze import analyze
from facemllm.analysis.photos import Ignored, find_photos

def resident(name):
    status = open("/proc/self/status").read()
    return int(status.partition(f"{name}:")[2].split()[0]) // 1024

before, rows = resident("VmRSS"), []
photos = find_photos(
    sys.argv[1:], every=1.0, wanted=lambda *_: True, ended=lambda _: None, ignored=Ignored(), private_hosts=False
)
analyze(photos, lambda pictures: ([] for _ in pictures), rows.append)
print(resident("VmHWM") - before, *(f"{row['size']} {row['error']}" for row in rows), sep="\\n")
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the peak of a process's memory")
def test_several_pictures_of_99_megapixels_are_not_held_at_once(tmp_path):
    for number, side in enumerate((9990, 9990, 5600, 9990)):
        (tmp_path / f"{number}.png").write_bytes(png_of_one_color(side))
    done = subprocess.run(
        [sys.executable, "-c", LOOKS_AT_NOTHING, str(tmp_path)], capture_output=True, text=True, check=True
    )
    grown, *rows = done.stdout.splitlines()
    assert rows == ["[9990, 9990] ", "[9990, 9990] ", "[5600, 5600] ", "[9990, 9990] "]
    assert int(grown) < 800
