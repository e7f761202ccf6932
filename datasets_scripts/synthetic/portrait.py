"""One drawn face: labels in, an RGB picture out. What no label says comes from the random stream that is passed in."""

import functools
import math
import random

import numpy as np
from PIL import Image, ImageDraw

SKIN = {"fair": (250, 219, 194), "tan": (204, 146, 98), "dark": (143, 94, 64)}
HAIR = {"black": (30, 27, 32), "brown": (88, 49, 22), "blond": (243, 214, 122), "red": (205, 82, 28)}
BACKGROUND = {
    "white": (246, 246, 243),
    "blue": (112, 164, 226),
    "green": (122, 192, 130),
    "yellow": (246, 219, 96),
    "pink": (247, 164, 196),
}
# Clothes keep away from the colours of hair, skin and lips.
CLOTHES = ((58, 76, 150), (46, 132, 140), (118, 64, 146), (70, 120, 72), (96, 100, 112))
SCARVES = ((190, 44, 58), (36, 92, 180), (40, 140, 96), (140, 60, 160))
GREY = (206, 206, 210)
INK = (34, 32, 38)

# Of one cheek, in head units from the middle of the face: an upper and a lower row.
_FRECKLES = (
    *((0.16, 0.12), (0.3, 0.16), (0.44, 0.1), (0.57, 0.18)),
    *((0.22, 0.26), (0.36, 0.29), (0.5, 0.28), (0.6, 0.32)),
)

_SUPERSAMPLING = 3
_ANGLES = np.linspace(0, 2 * math.pi, 36, endpoint=False)
_CIRCLE = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1)


def _mix(a: tuple[int, ...], b: tuple[int, ...], share: float) -> tuple[int, ...]:
    return tuple(round(x + (y - x) * share) for x, y in zip(a, b, strict=True))


def _curve(start: tuple, control: tuple, end: tuple, steps: int = 9) -> list[tuple[float, float]]:
    """Points of a quadratic Bézier curve."""
    shares = [i / (steps - 1) for i in range(steps)]
    weights = [((1 - t) * (1 - t), 2 * t * (1 - t), t * t) for t in shares]
    return [tuple(a * p + b * q + c * r for p, q, r in zip(start, control, end, strict=True)) for a, b, c in weights]


def _box(x: float, y: float, rx: float, ry: float) -> list[tuple[float, float]]:
    return [(x - rx, y - ry), (x + rx, y - ry), (x + rx, y + ry), (x - rx, y + ry)]


@functools.lru_cache(maxsize=4)
def _pixel_columns(size: int) -> np.ndarray:
    return (np.arange(size, dtype=np.float32) + 0.5) * (64 / size)


class Portrait:
    """One face on a supersampled canvas. Coordinates are head units: the head's half height is 1, y points down."""

    def __init__(self, labels: dict[str, str | None], rng: random.Random, size: int):
        self.labels = labels
        self.rng = rng
        self.size = size
        self.canvas = Image.new("RGBA", (size * _SUPERSAMPLING,) * 2, (0, 0, 0, 0))
        self.pen = ImageDraw.Draw(self.canvas)

        # Of the 64 units that the picture is wide.
        self.unit = 19.0 * rng.uniform(0.92, 1.05)
        self.center = (32 + rng.uniform(-2.5, 2.5), 32.5 + rng.uniform(-1.5, 2.0))
        self.width = rng.uniform(0.72, 0.82)
        self.eye_x = rng.uniform(0.29, 0.35)
        turn = {"left": -1, "front": 0, "right": 1}[labels["yaw"]]
        tilt = {"left": -1, "upright": 0, "right": 1}[labels["roll"]]
        self.turn = turn * rng.uniform(0.19, 0.25)
        self.tilt = math.radians(tilt * rng.uniform(14, 20) + rng.uniform(-2, 2))
        self._upright = self._matrix(0.0)
        self._tilted = self._matrix(self.tilt)
        self.place = self._tilted

        self.skin = tuple(max(0, min(255, c + rng.randint(-7, 7))) for c in SKIN[labels["skin_tone"]])
        self.shade = _mix(self.skin, (70, 20, 10), 0.32)
        # A bald head still has brows and may have a beard.
        hair = HAIR[labels["hair_color"] or rng.choice(("black", "brown"))]
        self.hair = tuple(max(0, min(255, c + rng.randint(-6, 6))) for c in hair)
        self.greying = {"young": 0.0, "middle-aged": 0.3, "elderly": 0.95}[labels["age"]]
        beard = _mix(self.hair, GREY, 0.8 if labels["age"] == "elderly" else 0.0)
        # A brown beard would vanish on dark skin.
        self.beard = _mix(beard, INK, 0.4 if labels["skin_tone"] == "dark" and sum(beard) < 250 else 0.0)

    def _matrix(self, angle: float) -> tuple[float, ...]:
        """Head units to canvas pixels, turned by `angle` about a point near the chin."""
        pixels = self.unit * self.size * _SUPERSAMPLING / 64
        cos, sin = math.cos(angle) * pixels, math.sin(angle) * pixels
        pivot = 0.45
        dx = self.center[0] * self.size * _SUPERSAMPLING / 64 + sin * pivot
        dy = self.center[1] * self.size * _SUPERSAMPLING / 64 + pixels * pivot - cos * pivot
        return cos, sin, dx, dy, pixels

    def _map(self, points) -> list[tuple[float, float]]:
        cos, sin, dx, dy, _ = self.place
        return [(cos * x - sin * y + dx, sin * x + cos * y + dy) for x, y in points]

    def _fill(self, points, color: tuple[int, ...]) -> None:
        self.pen.polygon(self._map(points), fill=(*color, 255))

    def _oval(self, x: float, y: float, rx: float, ry: float, color: tuple[int, ...]) -> None:
        self._fill((_CIRCLE * (rx, ry) + (x, y)).tolist(), color)

    def _line(self, points, color: tuple[int, ...], width: float) -> None:
        thickness = max(1, round(width * self.place[4]))
        self.pen.line(self._map(points), fill=(*color, 255), width=thickness, joint="curve")

    def draw(self) -> None:
        labels = self.labels
        self.place = self._upright
        self._shoulders()
        self.place = self._tilted
        if labels["hair_length"] == "long":
            self._long_hair_behind()
        self.place = self._upright
        self._neck()
        if labels["scarf"] == "yes":
            self._scarf()
        self.place = self._tilted
        self._ears()
        self._head()
        if labels["beard"] == "yes":
            self._beard()
        self._wrinkles()
        self._nose()
        if labels["freckles"] == "yes":
            self._freckles()
        self._mouth()
        self._eyes()
        if labels["hair_length"] != "bald":
            self._hair_in_front()
        if labels["glasses"] != "none":
            self._glasses()
        if labels["hat"] != "none":
            self._hat()
        self._brows()
        if labels["earrings"] == "yes":
            self._earrings()

    def _shoulders(self) -> None:
        shirt = self.rng.choice(CLOTHES)
        left, right = _curve((-1.9, 2.6), (-1.7, 1.35), (-0.5, 1.28)), _curve((0.5, 1.28), (1.7, 1.35), (1.9, 2.6))
        self._fill([*left, *right], shirt)

    def _neck(self) -> None:
        shadow = _mix(self.skin, self.shade, 0.45)
        self._fill([(-0.36, 0.6), (0.36, 0.6), (0.42, 1.3), (0.0, 1.5), (-0.42, 1.3)], shadow)

    def _scarf(self) -> None:
        color = self.rng.choice(SCARVES)
        stripe = _mix(color, (255, 255, 255), 0.62)
        top = _curve((-0.66, 0.98), (0.0, 1.22), (0.66, 0.98))
        bottom = _curve((0.74, 1.4), (0.0, 1.72), (-0.74, 1.4))
        self._fill([*top, *bottom], color)
        for x in (-0.5, -0.22, 0.06):
            self._line([(x, 1.04 + 0.1 * (0.6 - abs(x))), (x + 0.06, 1.52)], stripe, 0.07)
        self._fill([(0.2, 1.2), (0.58, 1.15), (0.72, 2.3), (0.3, 2.3)], color)
        for y in (1.42, 1.66):
            self._line([(0.27, y), (0.62, y)], stripe, 0.07)

    def _ear_sides(self) -> list[int]:
        """The sides (-1 left, 1 right) whose ear is seen: a turned head hides the ear it turns towards."""
        return [side for side in (-1, 1) if side * self.turn <= 0]

    def _ears(self) -> None:
        for side in self._ear_sides():
            reach = self.width + 0.05 - abs(self.turn) * 0.35
            self._oval(side * reach, 0.06, 0.14 + abs(self.turn) * 0.2, 0.2, self.skin)
            self._oval(side * (reach + 0.02), 0.06, 0.06, 0.11, self.shade)

    def _head(self) -> None:
        w = self.width
        skull = [(w * math.cos(a), -0.15 + 0.87 * math.sin(a)) for a in np.linspace(math.pi, 2 * math.pi, 20)]
        jaw = _curve((w, -0.15), (w * 0.98, 0.78), (w * 0.34, 0.98), 7)
        jaw += _curve((w * 0.34, 0.98), (0, 1.06), (-w * 0.34, 0.98), 5)
        jaw += _curve((-w * 0.34, 0.98), (-w * 0.98, 0.78), (-w, -0.15), 7)
        self._fill([*skull, *jaw], self.skin)

    def _beard(self) -> None:
        w, t = self.width, self.turn
        color = self.beard
        dark = _mix(color, INK, 0.35)
        outer = _curve((w + 0.02, 0.1), (w * 1.06, 0.88), (w * 0.42, 1.1))
        outer += _curve((w * 0.42, 1.1), (0, 1.24), (-w * 0.42, 1.1), 5)
        outer += _curve((-w * 0.42, 1.1), (-w * 1.06, 0.88), (-w - 0.02, 0.1))
        # The inner edge leaves the mouth and the lip above it free: those belong to the moustache.
        inner = [(-w + 0.1, 0.1), (-w + 0.16, 0.4)]
        inner += _curve((t * 0.7 - 0.42, 0.6), (t * 0.7, 0.98), (t * 0.7 + 0.42, 0.6), 7)
        inner += [(w - 0.16, 0.4), (w - 0.1, 0.1)]
        self._fill([*outer, *inner], color)
        self._line(inner, dark, 0.04)
        for x in (-0.45, -0.22, 0.0, 0.22, 0.45):
            self._line([(x, 0.9 - 0.12 * abs(x)), (x * 0.85, 1.1 - 0.2 * abs(x))], dark, 0.035)

    def _wrinkles(self) -> None:
        if self.labels["age"] == "young":
            return
        t, eye, elderly = self.turn, self.eye_x, self.labels["age"] == "elderly"
        color = _mix(self.skin, (40, 10, 5), 0.62 if elderly else 0.46)
        width = 0.06
        for side in (-1, 1):
            fold = _curve((t + side * 0.17, 0.22), (t + side * 0.34, 0.28), (t * 0.9 + side * 0.37, 0.5))
            self._line(fold, color, width)
            if not elderly:
                continue
            cheek = _curve((t + side * 0.32, 0.16), (t + side * 0.5, 0.24), (t * 0.9 + side * 0.52, 0.46))
            self._line(cheek, color, width)
            for y in (-0.2, -0.1, 0.0):
                self._line([(t + side * (eye + 0.19), -0.1 + y * 0.3), (t + side * (eye + 0.31), y)], color, 0.04)
            bag = _curve((t + side * (eye - 0.13), 0.03), (t + side * eye, 0.12), (t + side * (eye + 0.13), 0.03))
            self._line(bag, color, 0.04)
        for y in (-0.74, -0.64) if elderly else ():
            self._line(_curve((t - 0.36, y + 0.04), (t, y - 0.04), (t + 0.36, y + 0.04)), color, 0.045)

    def _nose(self) -> None:
        t = self.turn
        lean = t * 0.5
        self._line([(t * 0.95, -0.12), (t + lean * 0.9, 0.2), (t + lean * 0.4 - 0.09, 0.24)], self.shade, 0.06)
        self._line([(t + lean * 0.9, 0.2), (t + lean * 0.4 + 0.09, 0.24)], self.shade, 0.06)

    def _freckles(self) -> None:
        color = _mix(self.skin, (72, 26, 8), 0.74)
        for side in (-1, 1):
            for x, y in _FRECKLES:
                x, y = x + self.rng.uniform(-0.02, 0.02), y + self.rng.uniform(-0.02, 0.02)
                if abs(self.turn + side * x) < self.width - 0.07:  # on a turned head the far ones are out of sight
                    self._oval(self.turn + side * x, y, 0.052, 0.052, color)

    def _mouth(self) -> None:
        labels = self.labels
        x, y = self.turn * 0.95, 0.56
        painted = labels["lipstick"] == "yes"
        lips = (214, 16, 62) if painted else _mix(self.skin, (100, 30, 28), 0.6)
        thick = 0.15 if painted else 0.09
        if labels["moustache"] == "yes":
            color = self.beard
            edge = _mix(color, INK, 0.45)
            shape = _curve((x - 0.52, 0.42), (x - 0.24, 0.2), (x, 0.32))
            shape += _curve((x, 0.32), (x + 0.24, 0.2), (x + 0.52, 0.42))
            shape += [(x + 0.4, 0.54), (x + 0.18, 0.5), (x, 0.47), (x - 0.18, 0.5), (x - 0.4, 0.54)]
            self._fill(shape, color)
            self._line([*shape, shape[0]], edge, 0.045)
            self._line([(x, 0.32), (x, 0.46)], edge, 0.04)
            y += 0.07
        mood = labels["expression"]
        grow = 0.05 if painted else 0.0
        if mood == "neutral":
            self._line([(x - 0.24, y + 0.02), (x + 0.24, y + 0.02)], lips, thick)
            if painted:
                self._line([(x - 0.2, y + 0.02), (x + 0.2, y + 0.02)], _mix(lips, INK, 0.5), 0.03)
        elif mood == "happy":
            smile = _curve((x - 0.37, y - 0.1), (x, y), (x + 0.37, y - 0.1))
            smile += _curve((x + 0.37, y - 0.1), (x, y + 0.5), (x - 0.37, y - 0.1))
            self._fill(smile, (250, 250, 246))
            self._line([*smile, smile[0], smile[1]], lips, thick * 0.7)
        elif mood == "sad":
            self._line(_curve((x - 0.34, y + 0.26), (x, y - 0.28), (x + 0.34, y + 0.26)), lips, thick * 1.1)
        elif mood == "surprised":
            self._oval(x, y + 0.11, 0.2 + grow, 0.25 + grow, lips)
            self._oval(x, y + 0.11, 0.14, 0.19, (52, 10, 16))
        else:
            self._oval(x, y + 0.05, 0.34 + grow, 0.17 + grow, lips)
            self._fill(_box(x, y + 0.05, 0.25, 0.085), (246, 246, 242))
            for dx in (-0.125, 0.0, 0.125):
                self._line([(x + dx, y - 0.04), (x + dx, y + 0.14)], INK, 0.03)

    def _eyes(self) -> None:
        height = {"surprised": 0.145, "happy": 0.085, "angry": 0.08}.get(self.labels["expression"], 0.1)
        iris = self.rng.choice(((70, 44, 26), (46, 84, 130), (60, 98, 60)))
        for side in (-1, 1):
            x, y = self.turn + side * self.eye_x * (1 - abs(self.turn) * 0.35), -0.14
            self._oval(x, y, 0.155, height + 0.025, _mix(self.shade, INK, 0.35))
            self._oval(x, y + 0.015, 0.13, height, (252, 252, 250))
            self._oval(x + self.turn * 0.2, y + 0.01, 0.07, min(0.08, height), iris)
            self._oval(x + self.turn * 0.2, y + 0.01, 0.035, 0.045, (12, 10, 14))

    def _brows(self) -> None:
        color = _mix(self.hair, GREY, self.greying)
        if self.labels["skin_tone"] == "dark" and self.labels["age"] == "young":
            color = _mix(color, INK, 0.45)
        mood = self.labels["expression"]
        inner, outer, bow = {
            "neutral": (-0.39, -0.37, -0.05),
            "happy": (-0.43, -0.38, -0.12),
            "sad": (-0.56, -0.3, 0.02),
            "surprised": (-0.56, -0.52, -0.16),
            "angry": (-0.22, -0.53, 0.0),
        }[mood]
        for side in (-1, 1):
            x = self.turn + side * self.eye_x
            start, end = (x - side * 0.17, inner), (x + side * 0.19, outer)
            self._line(_curve(start, (x, (inner + outer) / 2 + bow), end, 6), color, 0.125)

    def _long_hair_behind(self) -> None:
        w, shift = self.width + 0.22, -self.turn * 0.55
        left = _curve((shift - w, -0.2), (shift - w - 0.1, 0.8), (shift - w + 0.04, 1.5))
        right = _curve((shift + w - 0.04, 1.5), (shift + w + 0.1, 0.8), (shift + w, -0.2))
        top = [(shift + w * math.cos(a), -0.2 - 0.95 * math.sin(a)) for a in np.linspace(0, math.pi, 16)]
        self._fill([*left, *right, *top], self.hair)
        dark = _mix(self.hair, INK, 0.3)
        for x in (shift - w + 0.1, shift + w - 0.1):
            self._line([(x, 0.3), (x * 1.02, 1.4)], dark, 0.035)

    def _hair_in_front(self) -> None:
        w, t, long = self.width, self.turn, self.labels["hair_length"] == "long"
        shift, part = -t * 0.4, self.rng.uniform(-0.2, 0.2)
        outer = [
            (shift + (w + 0.11) * math.cos(a), -0.14 - 1.03 * math.sin(a))
            for a in np.linspace(-0.12, math.pi + 0.12, 22)
        ]
        low = 0.7 if long else 0.02
        hairline = [(-w + 0.06 + shift * 0.4, low), (-w + 0.1 + max(t, 0) * 0.3, -0.3)]
        hairline += _curve((-w + 0.2 + max(t, 0) * 0.3, -0.56), (part + t, -0.76), (w - 0.2 + min(t, 0) * 0.3, -0.56))
        hairline += [(w - 0.1 + min(t, 0) * 0.3, -0.3), (w - 0.06 + shift * 0.4, low)]
        if long:
            outer = [(shift + w + 0.14, 0.75), *outer, (shift - w - 0.14, 0.75)]
        self._fill([*outer, *hairline], self.hair)
        self._line(hairline, _mix(self.hair, INK, 0.4), 0.035)
        shine = _mix(self.hair, (255, 255, 255), 0.22)
        self._line(_curve((shift - 0.42, -0.84), (shift - 0.1, -1.06), (shift + 0.25, -0.98)), shine, 0.05)
        if self.greying:
            grey = _mix(self.hair, GREY, 0.85)
            reach = 0.1 + 0.06 * (self.greying > 0.5)
            for side in (-1, 1):
                edge = side * (w - 0.02) + shift * 0.5
                near, far = edge - side * 0.04, edge + side * reach
                self._fill([(near, -0.42), (far, -0.36), (far, 0.05), (near, 0.05)], grey)
            for x in (-0.3, 0.22) if self.greying > 0.5 else ():
                strand = _curve((shift + x, -0.66), (shift + x * 1.1, -0.9), (shift + x * 0.8, -1.08), 5)
                self._line(strand, grey, 0.05)

    def _glasses(self) -> None:
        frame = (26, 26, 34)
        sun = self.labels["glasses"] == "sunglasses"
        for side in (-1, 1):
            x, y = self.turn + side * self.eye_x * (1 - abs(self.turn) * 0.35), -0.12
            if sun:
                self._oval(x, y, 0.265, 0.215, frame)
                self._line([(x - 0.12, y - 0.02), (x - 0.02, y - 0.12)], (150, 160, 180), 0.05)
            else:
                points = _CIRCLE * (0.235, 0.205) + (x, y)
                self._line([*points.tolist(), points[0].tolist(), points[1].tolist()], frame, 0.065)
            self._line([(x + side * 0.22, y - 0.04), (side * self.width, y - 0.06)], frame, 0.06)
        self._line([(self.turn - 0.12, -0.14), (self.turn + 0.12, -0.14)], frame, 0.075)

    def _hat(self) -> None:
        color = self.rng.choice(CLOTHES)
        dark, light = _mix(color, INK, 0.45), _mix(color, (255, 255, 255), 0.4)
        shift, w = -self.turn * 0.2, self.width + 0.13
        dome = [(shift + w * math.cos(a), -0.62 - 0.72 * math.sin(a)) for a in np.linspace(0, math.pi, 18)]
        self._fill(dome, color)
        if self.labels["hat"] == "beanie":
            self._oval(shift, -1.38, 0.17, 0.16, light)
            self._fill(_box(shift, -0.71, w + 0.03, 0.13), light)
            for i in range(-3, 4):
                x = shift + i * w * 0.29
                self._line([(x, -0.82), (x, -0.6)], dark, 0.035)
            return
        self._line(_curve((shift, -1.33), (shift + self.turn, -1.0), (shift + self.turn, -0.7)), dark, 0.035)
        self._oval(shift, -1.33, 0.07, 0.05, dark)
        x = self.turn * 1.7
        brim = _curve((x - 0.86, -0.6), (x, -0.98), (x + 0.86, -0.6))
        brim += _curve((x + 0.86, -0.6), (x, -0.46), (x - 0.86, -0.6))
        self._fill(brim, dark)

    def _earrings(self) -> None:
        metal = self.rng.choice(((255, 214, 64), (236, 240, 246)))
        for side in self._ear_sides():
            x = side * (self.width + 0.1 - abs(self.turn) * 0.35)
            self._oval(x, 0.5, 0.17, 0.31, INK)
            self._oval(x, 0.5, 0.125, 0.26, metal)

    def develop(self, rng: np.random.Generator) -> Image.Image:
        """Downsample, light the figure from one side, put it on the background, add noise."""
        figure = np.asarray(self.canvas.reduce(_SUPERSAMPLING), dtype=np.float32)
        alpha = figure[..., 3:] / 255
        columns = (_pixel_columns(self.size) - self.center[0]) / self.unit
        side = {"left": -1.0, "even": 0.0, "right": 1.0}[self.labels["lighting"]]
        light = 1.0 + rng.uniform(-0.03, 0.03) if side == 0 else 0.83 + 0.27 * np.tanh(side * 2.2 * columns)
        light = np.broadcast_to(np.float32(light), columns.shape)[None, :, None]
        background = np.float32(BACKGROUND[self.labels["background"]]) + rng.uniform(-8, 4, 3).astype(np.float32)
        pixels = figure[..., :3] * light * alpha + background * (1 - alpha)
        pixels += rng.standard_normal(pixels.shape, dtype=np.float32) * rng.uniform(1.0, 4.0)
        return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
