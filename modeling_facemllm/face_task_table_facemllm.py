"""Face-MLLM's own table of tasks: what is asked of a face unless the model's configuration says otherwise.

The wording is the one that the project's corpora train on and its evaluation asks. Left and right are the viewer's.
Where only a judgement decides, the annotators' judgement is asked for.
"""

DEFAULT_FACE_TASKS = ("gender", "age", "expression")

# An option's share of years or degrees. The open ones are counted to 90 years, 90° of yaw, 40° of pitch and roll:
# beyond lie few faces, and an option stands for its middle.
RANGED = {
    "age": (
        "age",
        "What is the age group of this person?",
        {
            "0-2": (0, 3),
            "3-9": (3, 10),
            "10-19": (10, 20),
            "20-29": (20, 30),
            "30-39": (30, 40),
            "40-49": (40, 50),
            "50-59": (50, 60),
            "60-69": (60, 70),
            "70 or older": (70, 90),
        },
    ),
    "yaw": (
        "angle",
        "Which way is the head turned?",
        {
            "far to the right": (-90, -55),
            "to the right": (-55, -15),
            "to the front": (-15, 15),
            "to the left": (15, 55),
            "far to the left": (55, 90),
        },
    ),
    "pitch": ("angle", "Does the face look up or down?", {"down": (-40, -12), "level": (-12, 12), "up": (12, 40)}),
    "roll": (
        "angle",
        "Which way does the head lean?",
        {"left": (-40, -12), "upright": (-12, 12), "right": (12, 40)},
    ),
}

CATEGORIES = {
    "gender": ("What is the gender of this person?", "female, male"),
    "expression": (
        "Which expression does this face show?",
        "neutral, happiness, sadness, surprise, fear, disgust, anger",
    ),
    "valence": ("Is the expression of this face positive or negative?", "negative, neutral, positive"),
    "arousal": ("Is the expression of this face calm or excited?", "calm, moderate, excited"),
    "race": (
        "Which race label would an annotator give this face?",
        "White, Black, Latino or Hispanic, East Asian, Southeast Asian, Indian, Middle Eastern",
    ),
}

AGE_IN_YEARS, WHOLE_NUMBER = "How old is this person, in years?", "Answer with a whole number."
MAX_AGE = 100

YES_OR_NO = {
    "black_hair": "Does this person have black hair?",
    "blond_hair": "Does this person have blond hair?",
    "brown_hair": "Does this person have brown hair?",
    "gray_hair": "Does this person have gray hair?",
    "straight_hair": "Does this person have straight hair?",
    "wavy_hair": "Does this person have wavy hair?",
    "curly_hair": "Does this person have curly hair?",
    "bald": "Is this person bald?",
    "bangs": "Does this person have bangs?",
    "receding_hairline": "Does this person have a receding hairline?",
    "fully_visible_forehead": "Is the whole forehead visible?",
    "partially_visible_forehead": "Is only a part of the forehead visible?",
    "obstructed_forehead": "Is the forehead covered?",
    "5_o_clock_shadow": "Does this person have a 5 o'clock shadow?",
    "goatee": "Does this person have a goatee?",
    "mustache": "Does this person have a mustache?",
    "no_beard": "Is this person without a beard?",
    "sideburns": "Does this person have sideburns?",
    "arched_eyebrows": "Does this person have arched eyebrows?",
    "bushy_eyebrows": "Does this person have bushy eyebrows?",
    "bags_under_eyes": "Does this person have bags under the eyes?",
    "brown_eyes": "Does this person have brown eyes?",
    "narrow_eyes": "Would an annotator call these eyes narrow?",
    "eyes_open": "Are the eyes open?",
    "eyeglasses": "Does this person have eyeglasses on?",
    "sunglasses": "Does this person have sunglasses on?",
    "no_eyewear": "Is this person without glasses of any kind?",
    "big_nose": "Would an annotator call this nose big?",
    "pointy_nose": "Does this person have a pointy nose?",
    "big_lips": "Would an annotator call these lips big?",
    "smiling": "Is this person smiling?",
    "frowning": "Is this person frowning?",
    "mouth_closed": "Is the mouth closed?",
    "mouth_slightly_open": "Is the mouth slightly open?",
    "mouth_wide_open": "Is the mouth wide open?",
    "teeth_not_visible": "Are the teeth hidden?",
    "strong_nose_mouth_lines": "Are there strong lines from the nose to the mouth?",
    "high_cheekbones": "Does this person have high cheekbones?",
    "oval_face": "Does this person have an oval face?",
    "square_face": "Does this person have a square face?",
    "round_face": "Does this person have a round face?",
    "round_jaw": "Does this person have a round jaw?",
    "double_chin": "Does this person have a double chin?",
    "chubby": "Would an annotator call this person chubby?",
    "pale_skin": "Does the skin look pale in this picture?",
    "rosy_cheeks": "Does this person have rosy cheeks?",
    "shiny_skin": "Is the skin shiny?",
    "flushed_face": "Is the face flushed?",
    "heavy_makeup": "Does this person wear heavy makeup?",
    "wearing_lipstick": "Does this person wear lipstick?",
    "wearing_earrings": "Does this person wear earrings?",
    "wearing_hat": "Does this person wear a hat?",
    "wearing_necklace": "Does this person wear a necklace?",
    "wearing_necktie": "Does this person wear a necktie?",
    "young": "Would an annotator call this person young?",
    "baby": "Is this person a baby?",
    "child": "Is this person a child?",
    "youth": "Would an annotator call this person a youth?",
    "middle_aged": "Would an annotator call this person middle-aged?",
    "senior": "Would an annotator call this person a senior?",
    "attractive": "Did the annotators call this face attractive?",
    "attractive_man": "Did the annotators call this an attractive man?",
    "attractive_woman": "Did the annotators call this an attractive woman?",
    "blurry": "Is the picture blurry?",
    "harsh_lighting": "Is the lighting harsh?",
    "soft_lighting": "Is the lighting soft?",
    "flash": "Was the picture taken with a flash?",
    "outdoor": "Was the picture taken outdoors?",
    "color_photo": "Is this a color photo?",
    "posed_photo": "Did this person pose for the photo?",
    "teeth_shown": "Can teeth be seen?",
    "facial_jewelry": "Does the person wear a facial piercing?",
    "neck_jewelry": "Does the person wear a necklace?",
    "hand_at_face": "Is a hand at the face?",
}

CHOICES = {
    "head_hair_color": (
        "What color is the hair?",
        "black, dark brown, brown, light brown, blond, red, gray, white, dyed",
    ),
    "head_hair_length": ("How long is the hair?", "bald, cropped, short, chin-length, shoulder-length, long"),
    "head_hair_texture": ("What texture does the hair have?", "straight, wavy, curly, coily"),
    "hairstyle": ("How is the hair worn?", "loose, pulled back, pinned up, braided, dreadlocks, spiked"),
    "hairline": ("What is the hairline like?", "even, receding, widow's peak"),
    "fringe": ("How much of a fringe falls over the forehead?", "none, partial, full"),
    "facial_hair": (
        "What facial hair does the person have?",
        "none, stubble, mustache, goatee, short beard, long beard",
    ),
    "sideburn_length": ("How long are the sideburns?", "none, short, long"),
    "eyebrow_thickness": ("How thick are the eyebrows?", "thin, medium, thick"),
    "eyebrow_shape": ("What shape do the eyebrows have?", "straight, curved, strongly arched"),
    "eye_state": ("How open are the eyes?", "open, half closed, closed, one closed"),
    "eye_color": ("What color are the eyes?", "brown, hazel, green, blue, gray"),
    "gaze": ("Where do the eyes look?", "at the camera, to the left, to the right, up, down"),
    "under_eyes": ("What is the skin under the eyes like?", "smooth, slight bags, marked bags"),
    "eyewear": ("What eyewear does the person wear?", "none, eyeglasses, sunglasses, goggles"),
    "nose_size": ("How large is the nose?", "small, medium, large"),
    "mouth_state": ("How open is the mouth?", "closed, slightly open, wide open"),
    "smile": ("How does the person smile?", "none, slight, broad"),
    "lip_fullness": ("How full are the lips?", "thin, medium, full"),
    "lip_color": ("Which color do the lips have, their own or lipstick?", "natural, lipstick"),
    "chin": ("What kind of chin can be seen?", "single, double"),
    "face_shape": ("What shape does the face have?", "oval, round, square, long, heart-shaped"),
    "cheekbones": ("What do the cheekbones look like?", "flat, prominent"),
    "forehead": ("How much of the forehead can be seen?", "fully visible, partly covered, covered"),
    "makeup": ("How much make-up can be seen?", "none, light, heavy"),
    "wrinkles": ("What wrinkles can be seen?", "none, fine, deep"),
    "freckling": ("How many freckles can be seen?", "none, some, many"),
    "skin_mark": ("What mark can be seen on the skin of the face?", "none, mole, scar, blemishes, tattoo, face paint"),
    "ears_visible": ("How many ears can be seen?", "none, one, both"),
    "ear_jewelry": ("What earrings does the person wear?", "none, small, large"),
    "neckwear": ("What does the person wear around the neck?", "none, scarf, tie, bow tie"),
    "headwear": (
        "What does the person wear on the head?",
        "none, cap, hat, knitted cap, hood, wrapped cloth, helmet, headband",
    ),
    "covered_part": ("What part of the face is covered?", "none, eyes, nose, mouth, lower half, one side"),
    "head_turn": (
        "Which way does the head turn in this picture?",
        "to the front, slightly to the left, slightly to the right, in left profile, in right profile",
    ),
    "head_tilt": ("Which way does the top of the head lean?", "upright, leaning to the left, leaning to the right"),
    "head_nod": ("Is the head raised or lowered?", "level, raised, lowered"),
    "light_direction": (
        "Where does the light come from?",
        "even, from the left, from the right, from above, from below, from behind",
    ),
    "picture_exposure": ("How is the face exposed?", "dark, balanced, overexposed"),
    "picture_sharpness": ("How sharp is the picture?", "sharp, soft, blurred"),
    "picture_colors": ("What colors does the picture have?", "color, black and white, tinted"),
    "surroundings": ("Where was the picture taken?", "plain background, indoors, outdoors, stage or studio"),
}

CLOSED_QUESTIONS: dict[str, tuple[str, tuple[str, ...]]] = {
    **{name: (question, tuple(options.split(", "))) for name, (question, options) in CATEGORIES.items()},
    **{name: (question, tuple(ranges)) for name, (_, question, ranges) in RANGED.items()},
    **{name: (question, ("yes", "no")) for name, question in YES_OR_NO.items()},
    **{name: (question, tuple(options.split(", "))) for name, (question, options) in CHOICES.items()},
}
"""Every question with a closed set of answers, and these in the order in which they are stated, by task."""

STATED_OPTIONS = "{question} Options: {options}."

ON_REQUEST = ("race", "attractive", "attractive_man", "attractive_woman", "age_years")
"""Asked only where they are named, not as one of several."""
