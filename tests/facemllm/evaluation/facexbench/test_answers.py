"""What an answer is taken for: strictly, as published, and safely."""

import pytest

from facemllm.evaluation.facexbench.answers import safe, strict

AGES = ("20-29", "30-39", "40-49", "10-19")
IMAGES = ("Image 1", "Image 1, Image 4", "Image 2", "None of the images")
COUNTS = ("1", "3", "0", "2")
GENDERS = ("Male", "Female", "Both", "None of the above")

# answer, options, strict, safe
ANSWERS = [
    # a letter
    ("A", AGES, "A", "A"),
    ("(C)", AGES, "C", "C"),
    ("D.", AGES, "D", "D"),
    ("b", AGES, None, "B"),
    ("option c", AGES, None, "C"),
    ("**B**", AGES, "B", "B"),
    ("**Answer:** B", AGES, "B", "B"),
    ("\\boxed{C}", AGES, "C", "C"),
    ("<answer>D</answer>", AGES, "D", "D"),
    ("B) 30-39", AGES, "B", "B"),
    ("A - Male", GENDERS, "A", "A"),
    ("D) None of the above because A and B do not match", GENDERS, "D", "D"),
    ("B, as A is incorrect", GENDERS, "B", "B"),
    ("C'est B", GENDERS, "C", "B"),
    ("<think>It may be A or B.</think>C", AGES, "A", "C"),
    # articles
    ("A person with dark hair is seen, so B", AGES, "A", "B"),
    ("A person with dark hair is seen.", AGES, "A", None),
    ("A man. The answer is C.", AGES, "A", "C"),
    ("The answer is A person", AGES, "A", None),
    ("A woman", GENDERS, "A", None),
    # conclusions
    ("Answer: B\nOption A is wrong because the skin is wrinkled.", AGES, "B", "B"),
    ("Neither A nor B; C is the correct answer.", AGES, "A", "C"),
    ("It is not A, so the answer is D", AGES, "A", "D"),
    ("(A) 20-29\n(B) 30-39\nThe answer is (B).", AGES, "A", "B"),
    ("Based on the image, I would choose B. Female", GENDERS, "B", "B"),
    ("There are 3 people, so B", COUNTS, "B", "B"),
    ("The answer is A, not B.", AGES, "A", "A"),
    ("It's B, not A", AGES, "B", "B"),
    ("A: incorrect. B: correct.", AGES, "A", "B"),
    ("(A) isn't right and D cannot be; I'd say B.", AGES, "A", "B"),
    ("I would say B or C but B is most likely.", AGES, "B", "B"),
    # the words of an option
    ("30-39", AGES, "B", "B"),
    ("The person is 30-39 years old.", AGES, "B", "B"),
    ("She is female.", GENDERS, None, "B"),
    ("none of the above", GENDERS, None, "D"),
    ("The faces are in Image 1, Image 4", IMAGES, "A", "B"),
    ("There are 3 people.", COUNTS, "B", "B"),
    # nothing, or several things
    ("", AGES, None, None),
    ("I cannot tell.", AGES, None, None),
    ("E", AGES, None, None),
    ("3.5", COUNTS, "B", None),
    ("A or B", AGES, "A", None),
    ("B, C", GENDERS, "B", None),
    ("It is not A.", AGES, "A", None),
    ("the answer isn't B", GENDERS, "B", None),
    ("(A) 20-29 (B) 30-39 (C) 40-49 (D) 10-19", AGES, "A", None),
    ("A. Male\nB. Female\nC. Both\nD. None of the above", GENDERS, "A", None),
    ("between 20-29 and 30-39", AGES, "A", None),
    ("Image 1 and also Image 2", IMAGES, "A", None),
    ("It could be male or female", GENDERS, None, None),
    ("The answer is A. Actually the answer is B.", AGES, "A", None),
    ("A. 30-39", AGES, "A", None),
]


@pytest.mark.parametrize(("text", "options", "expected"), [(text, options, by) for text, options, by, _ in ANSWERS])
def test_the_published_reading_takes_the_first_capital_that_stands_alone(text, options, expected):
    assert strict(text, options) == expected


@pytest.mark.parametrize(("text", "options", "expected"), [(text, options, by) for text, options, _, by in ANSWERS])
def test_the_safe_reading_needs_one_option_and_no_other(text, options, expected):
    assert safe(text, options) == expected


def test_a_model_that_repeats_itself_is_read_in_a_moment():
    assert safe("A B C D " * 3000, AGES) is None  # minutes where each mention looks through the whole answer
