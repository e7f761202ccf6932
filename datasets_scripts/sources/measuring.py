"""Labels that are measured on a photograph and its face's five landmarks, where no person labelled it.

| label | values | from |
|---|---|---|
| `yaw`, `roll` | degrees, signs as in `head_pose.py` | the landmarks, fitted with an average head |
| `light_direction` | even, from the left, from the right | the light of the cheeks and the forehead |
| `picture_exposure` | dark, balanced, overexposed | how bright the face's brightest parts are |
| `picture_sharpness` | sharp, soft, blurred | what blurring the face once more takes from it |
| `picture_colors` | color, black and white | how far its pixels are from gray, and in how many directions |

Left and right are the viewer's. Between two values lies a range that has neither: there the label is unknown. The
thresholds were set by eye on 1,955 faces of FairFace, and on copies of them that were mirrored, turned, blurred and
made smaller. They are measurements, not judgements: nothing here was trained.
"""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from modeling_facemllm.face_task_table_facemllm import RANGED

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

MEASURED_TASKS = ("yaw", "roll", "light_direction", "picture_exposure", "picture_sharpness", "picture_colors")

# Right and left eye, tip of the nose, right and left corner of the mouth, in centimetres: x to the picture's right, y
# down, z away from the camera. The means of the corners of each eye (33 and 133, 362 and 263), and the points 1, 61
# and 291, of MediaPipe's `canonical_face_model.obj`.
HEAD = (
    (-3.151, -2.625, -3.466),
    (3.151, -2.625, -3.466),
    (0, 1.127, -7.476),
    (-2.456, 4.343, -4.284),
    (2.456, 4.343, -4.284),
)
FITTING_STEPS = 20  # after which angles change by less than a tenth of a degree

MIN_EYE_DISTANCE = 12  # pixels: of a smaller face, a landmark's error of a pixel is ten degrees
UNSURE_DEGREES = (
    4  # around the edge of a bin: half of all faces change by 2 or 3 when they are mirrored or made smaller
)
PROFILE_EDGE = (40.0, 58.0)  # the same around ±55°: there the hidden eye is guessed, and yaw comes out too small
MAX_YAW_OF_ROLL = 30.0  # beyond, pitch and yaw tilt the line of the eyes as roll does
MAX_ROLL_ERROR = 5.0  # degrees between the fit and the line of the eyes alone

MAX_YAW_OF_LIGHT = 20.0  # beyond, the cheeks are seen from different sides
SIDE_STOPS = 1.0  # photographic stops: twice as much light on one cheek
EVEN_STOPS = 0.25  # a fifth more light: less than what a mirrored or smaller copy changes
EVEN_FOREHEAD_STOPS = 0.5  # between forehead and cheeks; a fringe, a cap and light from above are beyond
DARKEST = 0.003  # of linear light: noise, which would make a ratio of two black cheeks anything

# Brightness of the 95th percentile of the face, of 255. Dark skin in good light has highlights: on FairFace's
# validation faces, dark is said of 0.7 to 2.2 % of each of its seven groups.
DARK, BALANCED, BRIGHTEST = 65, (95, 240), 250
OVEREXPOSED, NOT_OVEREXPOSED = 0.15, 0.01  # share of the face's pixels that are BRIGHTEST or more
MAX_YAW_OF_WHITE = 30.0  # beyond, a white background is beside the cheek

SHARPNESS_SIDE, SHARPNESS_EYES = 80, 33.3  # pixels of the square that is looked at, and between its eyes
BLUR_WIDTH = 9  # pixels of the blur, as in the paper
# The blur that Crete et al. measure, from 0 to 1. Sharp faces blurred by a Gaussian of 1.9, 3.7 and 5 % of the
# distance between the eyes have 0.44, 0.56 and 0.64 (medians; 0.04 either way holds eight in ten).
SHARP, SOFT, BLURRED = 0.45, (0.54, 0.61), 0.66

COLOR_SIDE = 64  # pixels to which a picture is made smaller, so that noise of its colors averages out
# Distance from gray as a share of brightness. Gray JPEGs have up to 0.04. A picture of one tint differs from gray in
# one direction alone (the second number below 0.02), one in color in two.
GRAY_SHARE, COLOR_SHARES = 0.045, (0.12, 0.03)


def measure_face(image: "Image.Image", landmarks: Any) -> dict[str, Any]:
    """The measured labels of a face, as a record has them: `yaw`, `roll`, `attributes`; unknown ones are left out.

    Args:
        image: an upright picture in RGB.
        landmarks: array of shape `(5, 2)`, in its pixels, ordered as in `face_detection_facemllm.Face`.
    """
    import numpy as np

    points = np.asarray(landmarks, dtype=np.float64)
    attributes = {"picture_colors": picture_colors(image)}
    labels: dict[str, Any] = {}
    if eye_distance(points) >= MIN_EYE_DISTANCE:
        yaw, roll = head_angles(points)
        labels = {"yaw": sure_yaw(yaw), "roll": sure_roll(roll, yaw, eye_line(points))}
        face = _face_light(image, points)
        attributes |= {
            "light_direction": light_direction(face, yaw),
            "picture_exposure": picture_exposure(face, yaw),
            "picture_sharpness": picture_sharpness(image, points),
        }
    labels["attributes"] = {name: value for name, value in attributes.items() if value is not None}
    return {name: value for name, value in labels.items() if value is not None}


def with_measured(labels: Mapping[str, Any], measured: Mapping[str, Any]) -> dict[str, Any]:
    """A face's labels with the measured ones; where both know a value, a person's stays."""
    given = labels.get("attributes") or {}
    if not isinstance(given, Mapping):
        given = {entry["name"]: entry["value"] for entry in given}
    known = {name: value for name, value in labels.items() if value is not None}
    return {**measured, **known, "attributes": {**measured["attributes"], **given}}


def head_angles(landmarks: "np.ndarray") -> tuple[float, float]:
    """Yaw and roll in degrees, signs as in `head_pose.py`, of `(5, 2)` landmarks in pixels.

    `HEAD` is turned, scaled and shifted until its points, seen from far away, lie nearest to the landmarks: in turn,
    the depths of the landmarks are taken from the turned head, and the head is turned to these points in space, as in
    DeMenthon and Davis, "Model-based object pose in 25 lines of code", IJCV 1995, without their perspective.

    It is coarse. A copy of half the size changes yaw by 3 degrees in the median and by 9 in one of twenty faces; the
    average head is nobody's; beyond 45 degrees yaw comes out too small. It is meant for the bins of the task table.
    """
    import numpy as np

    head = np.array(HEAD) - np.mean(HEAD, axis=0)
    points = landmarks - landmarks.mean(axis=0)
    left, _, right = np.linalg.svd((np.linalg.pinv(head) @ points).T, full_matrices=False)
    rows = left @ right
    rotation = np.vstack([rows, np.cross(*rows)])
    for _ in range(FITTING_STEPS):
        turned = head @ rotation.T
        scale = (turned[:, :2] * points).sum() / (turned[:, :2] ** 2).sum()
        if abs(scale) < 1e-9:
            break
        left, _, right = np.linalg.svd(np.column_stack([points / scale, turned[:, 2]]).T @ head)
        rotation = left @ np.diag([1, 1, np.linalg.det(left @ right)]) @ right
    across, up, depth = rotation[0]
    return math.degrees(math.atan2(depth, math.hypot(across, up))), math.degrees(math.atan2(-up, across))


def eye_distance(landmarks: "np.ndarray") -> float:
    """Pixels between the eyes of a face seen from the front, also where it is turned: eyes and mouth are as far."""
    eyes, mouth = landmarks[:2].mean(axis=0), landmarks[3:].mean(axis=0)
    return max(math.dist(*landmarks[:2]), 0.9 * math.dist(eyes, mouth))


def eye_line(landmarks: "np.ndarray") -> float:
    """Degrees by which the line of the eyes is turned clockwise."""
    across, down = landmarks[1] - landmarks[0]
    return math.degrees(math.atan2(down, across))


def sure_yaw(yaw: float) -> float | None:
    """The yaw, unless it is near the edge of a bin of the task table."""
    near_profile = PROFILE_EDGE[0] < abs(yaw) < PROFILE_EDGE[1]
    return None if near_profile or _near_an_edge("yaw", yaw) else yaw


def sure_roll(roll: float, yaw: float, line: float) -> float | None:
    """The roll, unless it is near the edge of a bin, the head is turned far, or `line` of the eyes says otherwise."""
    unsure = abs(yaw) > MAX_YAW_OF_ROLL or abs(roll - line) > MAX_ROLL_ERROR or _near_an_edge("roll", roll)
    return None if unsure else roll


def _near_an_edge(task: str, angle: float) -> bool:
    return any(abs(angle - low) < UNSURE_DEGREES for low, _ in list(RANGED[task][2].values())[1:])


def _face_light(image: "Image.Image", landmarks: "np.ndarray") -> "np.ndarray":
    """The brightness of the face, 0 to 255, `(112, 112)`, its landmarks at ArcFace's places."""
    import numpy as np

    from modeling_facemllm.face_detection_facemllm import ARCFACE_SIDE, align

    return np.asarray(align(image, landmarks, ARCFACE_SIDE).convert("L"), dtype=np.float64)


def light_direction(face: "np.ndarray", yaw: float) -> str | None:
    """Where the light on an aligned face, `(112, 112)` of 0 to 255, comes from; None where that is unclear.

    Light from above, from below and from behind is not told from hair, beards and hats: it is unknown.
    """
    import numpy as np

    if abs(yaw) > MAX_YAW_OF_LIGHT:
        return None
    light = (face / 255) ** 2.2 + DARKEST
    left, right, forehead = light[56:90, 28:52].mean(), light[56:90, 60:84].mean(), light[22:38, 42:70].mean()
    stops = math.log2(left / right)
    if abs(stops) >= SIDE_STOPS:
        return "from the left" if stops > 0 else "from the right"
    even = abs(stops) <= EVEN_STOPS and abs(math.log2(forehead / np.sqrt(left * right))) <= EVEN_FOREHEAD_STOPS
    return "even" if even else None


def picture_exposure(face: "np.ndarray", yaw: float) -> str | None:
    """How an aligned face, `(112, 112)` of 0 to 255, is exposed; None between the values."""
    import numpy as np

    inner = face[34:100, 26:86]
    bright, white = np.percentile(inner, 95), (inner >= BRIGHTEST).mean()
    if bright <= DARK:
        return "dark"
    if white >= OVEREXPOSED and abs(yaw) <= MAX_YAW_OF_WHITE:
        return "overexposed"
    return "balanced" if BALANCED[0] <= bright <= BALANCED[1] and white <= NOT_OVEREXPOSED else None


def picture_sharpness(image: "Image.Image", landmarks: "np.ndarray") -> str | None:
    """How sharp the face of an upright picture is; None between the values, and for a face that is too small.

    Every face is looked at in one size, so that the picture's own does not matter. Noise counts as detail: a noisy
    picture seems sharper than it is.
    """
    import numpy as np
    from PIL.Image import Resampling

    distance = eye_distance(landmarks)
    if distance < SHARPNESS_EYES:
        return None
    half = SHARPNESS_SIDE * distance / SHARPNESS_EYES / 2
    (x, y), (width, height) = landmarks.mean(axis=0), image.size
    box = (max(0.0, x - half), max(0.0, y - half), min(width, x + half), min(height, y + half))
    scale = SHARPNESS_EYES / distance
    size = round((box[2] - box[0]) * scale), round((box[3] - box[1]) * scale)
    if min(size) <= 2 * BLUR_WIDTH:
        return None
    blur = measure_blur(np.asarray(image.resize(size, Resampling.LANCZOS, box=box).convert("L"), dtype=np.float64))
    if blur is None:
        return None
    if blur <= SHARP:
        return "sharp"
    if blur >= BLURRED:
        return "blurred"
    return "soft" if SOFT[0] <= blur <= SOFT[1] else None


def measure_blur(gray: "np.ndarray") -> float | None:
    """The blur of a picture `(height, width)`, from 0 to 1; None for one without any edge.

    It is the share of the differences between neighbours that is left when the picture is blurred once more, in the
    direction in which it is larger: Crete, Dolmiere, Ladret and Nicolas, "The blur effect: perception and estimation
    with a new no-reference perceptual blur metric", SPIE 6492, 2007.
    """
    import numpy as np

    found = []
    for picture in (gray, gray.T):
        summed = np.cumsum(np.pad(picture, ((1, 0), (0, 0))), axis=0)
        blurred = (summed[BLUR_WIDTH:] - summed[:-BLUR_WIDTH]) / BLUR_WIDTH
        sharp = picture[BLUR_WIDTH // 2 : -(BLUR_WIDTH // 2)]
        differences = np.abs(np.diff(sharp, axis=0))
        lost = np.maximum(differences - np.abs(np.diff(blurred, axis=0)), 0)
        if not (total := differences.sum()):
            return None
        found.append(1 - lost.sum() / total)
    return float(max(found))


def picture_colors(image: "Image.Image") -> str | None:
    """Whether an upright RGB picture is in color; None for what is tinted, and for little color."""
    import numpy as np
    from PIL.Image import Resampling

    small = image.resize((COLOR_SIDE, COLOR_SIDE), Resampling.BOX)
    red, green, blue = np.asarray(small, dtype=np.float64).reshape(-1, 3).T
    from_gray = np.stack([red - green, blue - (red + green) / 2])
    brightness = max(1.0, math.sqrt((((red + green + blue) / 3) ** 2).mean()))
    less, more = np.sqrt(np.maximum(np.linalg.eigvalsh(from_gray @ from_gray.T / red.size), 0)) / brightness
    if more <= GRAY_SHARE:
        return "black and white"
    return "color" if more >= COLOR_SHARES[0] and less >= COLOR_SHARES[1] else None
