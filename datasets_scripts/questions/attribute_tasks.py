"""How attributes are asked about: the part of the table of `tasks.py` that has a row for each of them.

Where only a judgement decides, the annotators' judgement is asked for. `caption` is what a yes means in a caption;
rows without it (judgements, age) stay out of captions.
"""

from .attribute_table import ATTRIBUTES
from .closed_task import NO_WORDING, Task, closed_task
from .wordings import WORDINGS


def _yes_no(name: str, wording: str, caption: str | None = None, group: str | None = None) -> Task:
    return closed_task(name, wording, label=f"attributes.{name}", caption=caption, group=group)


_ROWS: tuple[Task, ...] = (  # CelebA's, MAAD-Face's and LFWA's names
    # hair
    _yes_no("black_hair", "Is the hair black?", caption="with black hair", group="hair color"),
    _yes_no("blond_hair", "Is the hair blond?", caption="with blond hair", group="hair color"),
    _yes_no("brown_hair", "Is the hair brown?", caption="with brown hair", group="hair color"),
    _yes_no("gray_hair", "Is the hair gray?", caption="with gray hair", group="hair color"),
    _yes_no("straight_hair", "Is the hair straight?", caption="with straight hair", group="hair texture"),
    _yes_no("wavy_hair", "Is the hair wavy?", caption="with wavy hair", group="hair texture"),
    _yes_no("curly_hair", "Is the hair curly?", caption="with curly hair", group="hair texture"),
    _yes_no("bald", "Is the head bald?", caption="with a bald head", group="hair color"),
    _yes_no("bangs", "Do bangs fall over the forehead?", caption="with bangs", group="forehead"),
    _yes_no("receding_hairline", "Is the hairline receding?", caption="with a receding hairline", group="hairline"),
    _yes_no("fully_visible_forehead", "Can the forehead be seen in full?", group="forehead"),
    _yes_no("partially_visible_forehead", "Can only a part of the forehead be seen?", group="forehead"),
    _yes_no(
        "obstructed_forehead",
        "Does something cover the forehead?",
        caption="with the forehead covered",
        group="forehead",
    ),
    # facial hair
    _yes_no(
        "5_o_clock_shadow",
        "Is there a 5 o'clock shadow on this face?",
        caption="with a 5 o'clock shadow",
        group="beard",
    ),
    _yes_no("goatee", "Is there a goatee on this face?", caption="with a goatee", group="beard"),
    _yes_no("mustache", "Is there a mustache on this face?", caption="with a mustache", group="mustache"),
    _yes_no("no_beard", "Is this face free of any beard?", caption="without a beard", group="beard"),
    _yes_no("sideburns", "Are there sideburns on this face?", caption="with sideburns", group="sideburns"),
    # brows and eyes
    _yes_no("arched_eyebrows", "Are the eyebrows arched?", caption="with arched eyebrows", group="eyebrow shape"),
    _yes_no("bushy_eyebrows", "Are the eyebrows bushy?", caption="with bushy eyebrows", group="eyebrow thickness"),
    _yes_no(
        "bags_under_eyes", "Are there bags under the eyes?", caption="with bags under the eyes", group="under eyes"
    ),
    _yes_no("brown_eyes", "Are the eyes brown?", caption="with brown eyes", group="eye color"),
    _yes_no("narrow_eyes", "Are the eyes narrow, in an annotator's judgement?", group="eye shape"),
    _yes_no("eyes_open", "Does this person have open eyes?", caption="with open eyes", group="eye state"),
    _yes_no("eyeglasses", "Are there eyeglasses on this face?", caption="with eyeglasses", group="eyewear"),
    _yes_no("sunglasses", "Are there sunglasses on this face?", caption="with sunglasses", group="eyewear"),
    _yes_no("no_eyewear", "Is this face free of glasses?", caption="without glasses", group="eyewear"),
    # nose, mouth and cheeks
    _yes_no("big_nose", "Is the nose big, in an annotator's judgement?", group="nose size"),
    _yes_no("pointy_nose", "Is the nose pointy?", caption="with a pointy nose", group="nose shape"),
    _yes_no("big_lips", "Are the lips big, in an annotator's judgement?", group="lips"),
    _yes_no("smiling", "Is there a smile on this face?", caption="smiling", group="smile"),
    _yes_no("frowning", "Is there a frown on this face?", caption="frowning", group="smile"),
    _yes_no("mouth_closed", "Does this person keep the mouth closed?", caption="with the mouth closed", group="mouth"),
    _yes_no(
        "mouth_slightly_open",
        "Does this person have the mouth slightly open?",
        caption="with the mouth slightly open",
        group="mouth",
    ),
    _yes_no(
        "mouth_wide_open",
        "Does this person have the mouth wide open?",
        caption="with the mouth wide open",
        group="mouth",
    ),
    _yes_no("teeth_not_visible", "Is it true that no teeth can be seen?", group="mouth"),
    _yes_no(
        "strong_nose_mouth_lines",
        "Do strong lines run between nose and mouth?",
        caption="with strong lines between nose and mouth",
        group="lines",
    ),
    _yes_no("high_cheekbones", "Are the cheekbones high?", caption="with high cheekbones", group="cheekbones"),
    # shape and skin
    _yes_no("oval_face", "Is the face oval?", caption="with an oval face", group="face shape"),
    _yes_no("square_face", "Is the face square?", caption="with a square face", group="face shape"),
    _yes_no("round_face", "Is the face round?", caption="with a round face", group="face shape"),
    _yes_no("round_jaw", "Is the jaw round?", caption="with a round jaw", group="jaw"),
    _yes_no("double_chin", "Is there a double chin?", caption="with a double chin", group="chin"),
    _yes_no("chubby", "Is this person chubby, in an annotator's judgement?", group="chubby"),
    _yes_no("pale_skin", "Is the skin pale in this light?", group="skin"),
    _yes_no("rosy_cheeks", "Are the cheeks rosy?", caption="with rosy cheeks", group="cheeks"),
    _yes_no("shiny_skin", "Does the skin of this face shine?", caption="with shiny skin", group="shine"),
    _yes_no("flushed_face", "Does this person have a flushed face?", caption="with a flushed face", group="cheeks"),
    # what is worn
    _yes_no("heavy_makeup", "Is there heavy makeup on this face?", caption="wearing heavy makeup", group="makeup"),
    _yes_no("wearing_lipstick", "Is there lipstick on the lips?", caption="wearing lipstick", group="lipstick"),
    _yes_no("wearing_earrings", "Are there earrings to be seen?", caption="wearing earrings", group="earrings"),
    _yes_no("wearing_hat", "Is there a hat on the head?", caption="wearing a hat", group="hat"),
    _yes_no("wearing_necklace", "Is there a necklace to be seen?", caption="wearing a necklace", group="necklace"),
    _yes_no("wearing_necktie", "Is there a necktie to be seen?", caption="wearing a necktie", group="necktie"),
    # age and judgement
    _yes_no("young", "Does this person look young?", group="age"),
    _yes_no("baby", "Would an annotator call this person a baby?", group="age"),
    _yes_no("child", "Would an annotator call this person a child?", group="age"),
    _yes_no("youth", "Does this person look like a youth?", group="age"),
    _yes_no("middle_aged", "Does this person look middle-aged?", group="age"),
    _yes_no("senior", "Does this person look like a senior?", group="age"),
    _yes_no("attractive", "Is this face attractive, in an annotator's judgement?", group="attractive"),
    _yes_no("attractive_man", "Is this an attractive man, in an annotator's judgement?", group="attractive"),
    _yes_no("attractive_woman", "Is this an attractive woman, in an annotator's judgement?", group="attractive"),
    # picture
    _yes_no("blurry", "Is this picture blurred?", group="sharpness"),
    _yes_no("harsh_lighting", "Is this picture taken in harsh light?", group="lighting"),
    _yes_no("soft_lighting", "Is this picture taken in soft light?", group="lighting"),
    _yes_no("flash", "Does the light come from a flash?", group="lighting"),
    _yes_no("outdoor", "Is this person outdoors?", group="surroundings"),
    _yes_no("color_photo", "Is the picture in color?", group="picture colors"),
    _yes_no("posed_photo", "Is this a posed photo?", group="posed"),
)


def _annotated() -> dict[str, Task]:
    """A row for each attribute of the annotator's that has no label of its own."""
    return {
        name: closed_task(
            name,
            label=f"attributes.{name}",
            statement=row.statement,
            checks=(row.question,),
            claims={option: (row.words.get(option, option),) for option in row.options} if row.statement else {},
            group=row.group or name,
            wording=WORDINGS.get(name, NO_WORDING),
        )
        for name, row in ATTRIBUTES.items()
        if not row.label
    }


ATTRIBUTE_TASKS: dict[str, Task] = {
    **{row.label.partition(".")[2]: row for row in _ROWS},
    **_annotated(),
}
