"""FaceXBench in miniature: the exact layout of the public folder around drawn faces, with what is odd about it.

Options may be integers, and `answer` an integer that is no option; some pictures are missing; the tools' questions
name a black picture each, of which one is missing; questions with several pictures name two to five.
"""

import json
from pathlib import Path

from PIL import Image

from datasets_scripts.synthetic.faces import draw_face, sample_labels

POSTPEND = "Please answer the question and provide only the correct option letter, e.g., A, B, C, D."
CONTEXT = "Ignore the black image provided.\n1. Age Estimation:\n    api_name: api_1"

# name: category, sub-category, dataset, num_images, question, options (integers where the public files have them)
FILES = {
    "fairface_single_mcq_age_test": ("bias_fairness", "age", "fairface", "single", ("20-29", "3-9", "0-2", "10-19")),
    "utkface_multiple_mcq_gender_test": ("bias_fairness", "gender", "utkface", "multiple", (1, 3, 0, 2)),
    "fairface_single_mcq_race_test": ("bias_fairness", "race", "fairface", "single", ("White", "Black", "x", "y")),
    "lfw_multiple_mcq": ("face_recognition", "hr_fr", "lfw", "multiple", ("Image 1", "Image 2", "Both", "Neither")),
    "tinyface_multiple_mcq": ("face_recognition", "lr_fr", "tinyface", "multiple", (1, 2, 3, 0)),
    "imdb_single_mcq": ("face_recognition", "celebrity_identification", "imdb", "single", ("P", "Q", "R", "S")),
    "wmca_multiple_mcq": ("fas_deepfakes", "fas", "wmca", "multiple", ("2", "1", "0", "3")),
    "ff++_multiple_mcq": ("fas_deepfakes", "deepfakes", "ff++", "multiple", ("Image 1", "Image 2", "Both", "None")),
    "celeba_single_mcq": ("attributes_expression", "attributes", "celeba", "single", ("Bald", "Bangs", "Hat", "None")),
    "rafdb_single_mcq_train": (
        "attributes_expression",
        "expression",
        "rafdb",
        "single",
        ("Sad", "Happy", "Fear", "x"),
    ),
    "biwi_single_mcq": ("face_localization", "headpose", "biwi", "single", ("0 to 10", "10 to 20", "-10 to 0", "x")),
    "lapa_single_mcq": ("face_localization", "segmentation", "lapa", "single", ("nose", "hair", "skin", "neck")),
    "jhucrowd_single_mcq_test": ("face_localization", "crowd_counting", "jhucrowd", "single", (60, 65, 64, 63)),
    "tools_retrieval": ("tools_use", "tools_retrieval", "gpt4o", "zero", ("api_1-a", "api_2-b", "api_3-c", "api_4-d")),
}
QUESTIONS_EACH = 2
MISSING = ("images/imdb_single_mcq/question_2.png", "images/lfw_multiple_mcq/question_2_2.png")
MISSING_PLACEHOLDER = "images/tools_retrieval/question_2.png"


def write(root: Path) -> Path:
    """Write the folder; the right option of question k of a file is its k-th, in a circle."""
    index = 0
    for name, (category, sub_category, dataset, images, options) in FILES.items():
        questions = {}
        for number in range(1, QUESTIONS_EACH + 1):
            count = {"single": 1, "zero": 1, "multiple": number + 1}[images]
            ends = [f"_{place}" for place in range(1, count + 1)] if images == "multiple" else [""]
            paths = [f"images/{name}/question_{number}{end}.png" for end in ends]
            for path in paths:
                index += 1
                if path not in (*MISSING, MISSING_PLACEHOLDER):
                    _save(root / "benchmark" / path, _picture(index, black=images == "zero"))
            letter = "ABCD"[(number - 1) % 4]
            questions[str(number)] = {
                "image_paths": paths,
                "question_text": f"What is the {sub_category} here?",
                "options": list(options),
                "correct_answer_option": letter,
                "answer": options[(number - 1) % 4],
            }
        shared = {"category": category, "sub-category": sub_category, "dataset": dataset, "question_type": "MCQ"}
        shared |= {"num_images": images, "prepend_text": f"You have to perform the task of {sub_category}."}
        shared |= {"context": CONTEXT} if images == "zero" else {}
        content = shared | {"postpend_text": POSTPEND, "questions": questions}
        (root / "benchmark" / f"{name}.json").write_text(json.dumps(content, indent=4))
    (root / "README.md").write_text("# FaceXBench\n")
    return root


def _picture(index: int, black: bool) -> Image.Image:
    if black:
        return Image.new("RGB", (32, 32))
    return draw_face(sample_labels(index, 0, "test"), index, 0, "test")


def _save(path: Path, image: Image.Image) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
