"""How attributes are asked about: the part of the table of `tasks.py` that has a row for each of them.

Where only a judgement decides, the annotators' judgement is asked for. `caption` is what a yes means in a caption;
rows without it (judgements, age) stay out of captions.
"""

from .attribute_table import ATTRIBUTES
from .closed_task import Task


def _yes_no(name: str, *questions: str, caption: str | None = None, group: str | None = None) -> Task:
    return Task(f"attributes.{name}", {"yes": "yes", "no": "no"}, questions, caption=caption, group=group)


_ROWS: tuple[Task, ...] = (  # CelebA's, MAAD-Face's and LFWA's names
    # hair
    _yes_no(
        "black_hair",
        "Does this person have black hair?",
        "Is the hair black?",
        caption="with black hair",
        group="hair color",
    ),
    _yes_no(
        "blond_hair",
        "Does this person have blond hair?",
        "Is the hair blond?",
        caption="with blond hair",
        group="hair color",
    ),
    _yes_no(
        "brown_hair",
        "Does this person have brown hair?",
        "Is the hair brown?",
        caption="with brown hair",
        group="hair color",
    ),
    _yes_no(
        "gray_hair",
        "Does this person have gray hair?",
        "Is the hair gray?",
        caption="with gray hair",
        group="hair color",
    ),
    _yes_no(
        "straight_hair",
        "Does this person have straight hair?",
        "Is the hair straight?",
        caption="with straight hair",
        group="hair texture",
    ),
    _yes_no(
        "wavy_hair",
        "Does this person have wavy hair?",
        "Is the hair wavy?",
        caption="with wavy hair",
        group="hair texture",
    ),
    _yes_no(
        "curly_hair",
        "Does this person have curly hair?",
        "Is the hair curly?",
        caption="with curly hair",
        group="hair texture",
    ),
    _yes_no("bald", "Is this person bald?", "Is the head bald?", caption="with a bald head", group="hair color"),
    _yes_no(
        "bangs",
        "Does this person have bangs?",
        "Do bangs fall over the forehead?",
        caption="with bangs",
        group="forehead",
    ),
    _yes_no(
        "receding_hairline",
        "Does this person have a receding hairline?",
        "Is the hairline receding?",
        caption="with a receding hairline",
        group="hairline",
    ),
    _yes_no(
        "fully_visible_forehead",
        "Is the whole forehead visible?",
        "Can the forehead be seen in full?",
        group="forehead",
    ),
    _yes_no(
        "partially_visible_forehead",
        "Is only a part of the forehead visible?",
        "Can only a part of the forehead be seen?",
        group="forehead",
    ),
    _yes_no(
        "obstructed_forehead",
        "Is the forehead covered?",
        "Does something cover the forehead?",
        caption="with the forehead covered",
        group="forehead",
    ),
    # facial hair
    _yes_no(
        "5_o_clock_shadow",
        "Does this person have a 5 o'clock shadow?",
        "Is there a 5 o'clock shadow on this face?",
        caption="with a 5 o'clock shadow",
        group="beard",
    ),
    _yes_no(
        "goatee",
        "Does this person have a goatee?",
        "Is there a goatee on this face?",
        caption="with a goatee",
        group="beard",
    ),
    _yes_no(
        "mustache",
        "Does this person have a mustache?",
        "Is there a mustache on this face?",
        caption="with a mustache",
        group="mustache",
    ),
    _yes_no(
        "no_beard",
        "Is this person without a beard?",
        "Is this face free of any beard?",
        caption="without a beard",
        group="beard",
    ),
    _yes_no(
        "sideburns",
        "Does this person have sideburns?",
        "Are there sideburns on this face?",
        caption="with sideburns",
        group="sideburns",
    ),
    # brows and eyes
    _yes_no(
        "arched_eyebrows",
        "Does this person have arched eyebrows?",
        "Are the eyebrows arched?",
        caption="with arched eyebrows",
        group="eyebrow shape",
    ),
    _yes_no(
        "bushy_eyebrows",
        "Does this person have bushy eyebrows?",
        "Are the eyebrows bushy?",
        caption="with bushy eyebrows",
        group="eyebrow thickness",
    ),
    _yes_no(
        "bags_under_eyes",
        "Does this person have bags under the eyes?",
        "Are there bags under the eyes?",
        caption="with bags under the eyes",
        group="under eyes",
    ),
    _yes_no(
        "brown_eyes",
        "Does this person have brown eyes?",
        "Are the eyes brown?",
        caption="with brown eyes",
        group="eye color",
    ),
    _yes_no(
        "narrow_eyes",
        "Would an annotator call these eyes narrow?",
        "Are the eyes narrow, in an annotator's judgement?",
        group="eye shape",
    ),
    _yes_no(
        "eyes_open",
        "Are the eyes open?",
        "Does this person have open eyes?",
        caption="with open eyes",
        group="eye state",
    ),
    _yes_no(
        "eyeglasses",
        "Does this person have eyeglasses on?",
        "Are there eyeglasses on this face?",
        caption="with eyeglasses",
        group="eyewear",
    ),
    _yes_no(
        "sunglasses",
        "Does this person have sunglasses on?",
        "Are there sunglasses on this face?",
        caption="with sunglasses",
        group="eyewear",
    ),
    _yes_no(
        "no_eyewear",
        "Is this person without glasses of any kind?",
        "Is this face free of glasses?",
        caption="without glasses",
        group="eyewear",
    ),
    # nose, mouth and cheeks
    _yes_no(
        "big_nose",
        "Would an annotator call this nose big?",
        "Is the nose big, in an annotator's judgement?",
        group="nose size",
    ),
    _yes_no(
        "pointy_nose",
        "Does this person have a pointy nose?",
        "Is the nose pointy?",
        caption="with a pointy nose",
        group="nose shape",
    ),
    _yes_no(
        "big_lips",
        "Would an annotator call these lips big?",
        "Are the lips big, in an annotator's judgement?",
        group="lips",
    ),
    _yes_no("smiling", "Is this person smiling?", "Is there a smile on this face?", caption="smiling", group="smile"),
    _yes_no(
        "frowning", "Is this person frowning?", "Is there a frown on this face?", caption="frowning", group="smile"
    ),
    _yes_no(
        "mouth_closed",
        "Is the mouth closed?",
        "Does this person keep the mouth closed?",
        caption="with the mouth closed",
        group="mouth",
    ),
    _yes_no(
        "mouth_slightly_open",
        "Is the mouth slightly open?",
        "Does this person have the mouth slightly open?",
        caption="with the mouth slightly open",
        group="mouth",
    ),
    _yes_no(
        "mouth_wide_open",
        "Is the mouth wide open?",
        "Does this person have the mouth wide open?",
        caption="with the mouth wide open",
        group="mouth",
    ),
    _yes_no("teeth_not_visible", "Are the teeth hidden?", "Is it true that no teeth can be seen?", group="mouth"),
    _yes_no(
        "strong_nose_mouth_lines",
        "Are there strong lines from the nose to the mouth?",
        "Do strong lines run between nose and mouth?",
        caption="with strong lines between nose and mouth",
        group="lines",
    ),
    _yes_no(
        "high_cheekbones",
        "Does this person have high cheekbones?",
        "Are the cheekbones high?",
        caption="with high cheekbones",
        group="cheekbones",
    ),
    # shape and skin
    _yes_no(
        "oval_face",
        "Does this person have an oval face?",
        "Is the face oval?",
        caption="with an oval face",
        group="face shape",
    ),
    _yes_no(
        "square_face",
        "Does this person have a square face?",
        "Is the face square?",
        caption="with a square face",
        group="face shape",
    ),
    _yes_no(
        "round_face",
        "Does this person have a round face?",
        "Is the face round?",
        caption="with a round face",
        group="face shape",
    ),
    _yes_no(
        "round_jaw", "Does this person have a round jaw?", "Is the jaw round?", caption="with a round jaw", group="jaw"
    ),
    _yes_no(
        "double_chin",
        "Does this person have a double chin?",
        "Is there a double chin?",
        caption="with a double chin",
        group="chin",
    ),
    _yes_no(
        "chubby",
        "Would an annotator call this person chubby?",
        "Is this person chubby, in an annotator's judgement?",
        group="chubby",
    ),
    _yes_no("pale_skin", "Does the skin look pale in this picture?", "Is the skin pale in this light?", group="skin"),
    _yes_no(
        "rosy_cheeks",
        "Does this person have rosy cheeks?",
        "Are the cheeks rosy?",
        caption="with rosy cheeks",
        group="cheeks",
    ),
    _yes_no(
        "shiny_skin",
        "Is the skin shiny?",
        "Does the skin of this face shine?",
        caption="with shiny skin",
        group="shine",
    ),
    _yes_no(
        "flushed_face",
        "Is the face flushed?",
        "Does this person have a flushed face?",
        caption="with a flushed face",
        group="cheeks",
    ),
    # what is worn
    _yes_no(
        "heavy_makeup",
        "Does this person wear heavy makeup?",
        "Is there heavy makeup on this face?",
        caption="wearing heavy makeup",
        group="makeup",
    ),
    _yes_no(
        "wearing_lipstick",
        "Does this person wear lipstick?",
        "Is there lipstick on the lips?",
        caption="wearing lipstick",
        group="lipstick",
    ),
    _yes_no(
        "wearing_earrings",
        "Does this person wear earrings?",
        "Are there earrings to be seen?",
        caption="wearing earrings",
        group="earrings",
    ),
    _yes_no(
        "wearing_hat",
        "Does this person wear a hat?",
        "Is there a hat on the head?",
        caption="wearing a hat",
        group="hat",
    ),
    _yes_no(
        "wearing_necklace",
        "Does this person wear a necklace?",
        "Is there a necklace to be seen?",
        caption="wearing a necklace",
        group="necklace",
    ),
    _yes_no(
        "wearing_necktie",
        "Does this person wear a necktie?",
        "Is there a necktie to be seen?",
        caption="wearing a necktie",
        group="necktie",
    ),
    # age and judgement
    _yes_no("young", "Would an annotator call this person young?", "Does this person look young?", group="age"),
    _yes_no("baby", "Is this person a baby?", "Would an annotator call this person a baby?", group="age"),
    _yes_no("child", "Is this person a child?", "Would an annotator call this person a child?", group="age"),
    _yes_no(
        "youth", "Would an annotator call this person a youth?", "Does this person look like a youth?", group="age"
    ),
    _yes_no(
        "middle_aged",
        "Would an annotator call this person middle-aged?",
        "Does this person look middle-aged?",
        group="age",
    ),
    _yes_no(
        "senior", "Would an annotator call this person a senior?", "Does this person look like a senior?", group="age"
    ),
    _yes_no(
        "attractive",
        "Did the annotators call this face attractive?",
        "Is this face attractive, in an annotator's judgement?",
        group="attractive",
    ),
    _yes_no(
        "attractive_man",
        "Did the annotators call this an attractive man?",
        "Is this an attractive man, in an annotator's judgement?",
        group="attractive",
    ),
    _yes_no(
        "attractive_woman",
        "Did the annotators call this an attractive woman?",
        "Is this an attractive woman, in an annotator's judgement?",
        group="attractive",
    ),
    # picture
    _yes_no("blurry", "Is the picture blurry?", "Is this picture blurred?", group="sharpness"),
    _yes_no("harsh_lighting", "Is the lighting harsh?", "Is this picture taken in harsh light?", group="lighting"),
    _yes_no("soft_lighting", "Is the lighting soft?", "Is this picture taken in soft light?", group="lighting"),
    _yes_no("flash", "Was the picture taken with a flash?", "Does the light come from a flash?", group="lighting"),
    _yes_no("outdoor", "Was the picture taken outdoors?", "Is this person outdoors?", group="surroundings"),
    _yes_no("color_photo", "Is this a color photo?", "Is the picture in color?", group="picture colors"),
    _yes_no("posed_photo", "Did this person pose for the photo?", "Is this a posed photo?", group="posed"),
)

_GROUPS = {  # of the annotator's attributes: whose answers give which others away
    "head_hair_color": "hair color",
    "head_hair_length": "hair color",
    "head_hair_texture": "hair color",
    "hairstyle": "hair color",
    "fringe": "forehead",
    "forehead": "forehead",
    "makeup": "makeup",
    "lip_color": "makeup",
    "mouth_state": "mouth",
    "teeth_shown": "mouth",
    "smile": "expression",
    "eye_state": "eyes",
    "gaze": "eyes",
}


def _annotated() -> dict[str, Task]:
    """A row for each attribute of the annotator's that has no label of its own."""
    rows: dict[str, Task] = {}
    for name, attribute in ATTRIBUTES.items():
        if attribute.label:
            continue
        options, yes_no = attribute.options, set(attribute.options) == {"yes", "no"}
        rows[name] = Task(
            label=f"attributes.{name}",
            answers={option: option for option in options},
            questions=(attribute.question,),
            statement=attribute.statement,
            checks=(attribute.check,),
            claims={} if yes_no else {option: (attribute.words.get(option, option),) for option in options},
            group=_GROUPS.get(name, name),
        )
    return rows


ATTRIBUTE_TASKS: dict[str, Task] = {
    **{row.label.partition(".")[2]: row for row in _ROWS},
    **_annotated(),
}
