"""What a description must not say is found in many wordings, and ordinary descriptions of faces are let through."""

import pytest

from datasets_scripts.annotator.delicate_words import delicate_reason, names_a_person, speaks_of_race

DELICATE = {
    "names a person": """
        Emma Watson smiles at the camera.
        This resembles Barack Obama giving a speech.
        A portrait of Taylor Swift in soft light.
        The actor Brad Pitt looks to the left.
        A woman who looks like Scarlett Johansson.
        He looks like Rihanna's brother.
        This is Zidane, looking into the camera.
        The man, Chris Brown, has short hair.
        President Macron stands before a flag.
        Dr. Hartwig wears round glasses.
        A smiling boy named Tobias.
        A photo of J. K. Rowling.
        The painter Vincent van Gogh with a red beard.
        The singer Björk in a white dress.
        In this picture Angela smiles.
        Lady Gaga wears sunglasses.
        Possibly Kofi Annan, in a dark suit.
        The face of Nelson Mandela is turned to the left.
        Young Michael looks up.
    """,
    "speaks of race or ethnicity": """
        The person is of Korean descent.
        A Japanese woman smiles.
        A Nigerian man in a blue shirt.
        She has monolid eyes and a yellowish complexion.
        He looks Asian.
        An African American boy laughs.
        A black man in a suit.
        A Black, middle-aged woman.
        A white elderly woman in a garden.
        He appears to be white.
        A Polish girl with a braid.
        An Irishman with a red beard.
        Her heritage seems to be mixed.
        The man from Kenya looks down.
        A Middle Eastern man with a beard.
        The features suggest a Latina.
        A Native American elder.
        A biracial child.
        A woman of color.
        Her features are typical of East Asia.
        He seems Turkish.
    """,
    "speaks of religion": """
        A nun in a dark habit.
        He looks like a Muslim man.
        A Sikh with a long beard.
        A woman in a hijab.
        The priest looks down.
        A Buddhist monk smiles.
        The man is praying.
        An Orthodox Jewish man.
        A devout woman.
    """,
    "speaks of health": """
        A child with Down syndrome.
        She seems ill and depressed.
        The man looks sick.
        The patient has a pale face.
        He seems drunk.
        A disabled man in a chair.
        A blind woman with sunglasses.
        The skin suggests rosacea.
        A face marked by disease.
        She appears healthy.
        A pregnant woman.
        He shows symptoms of a stroke.
        An obese man.
    """,
    "speaks of sexual orientation": """
        A gay man with a mustache.
        She may be a lesbian.
        A transgender woman smiles.
        A straight man in a suit.
    """,
    "speaks of attractiveness": """
        A handsome man in a suit.
        She is very beautiful.
        A pretty young woman.
        She looks gorgeous.
        An ugly man.
        A cute baby.
        A good-looking boy.
        Her face is attractive.
    """,
}

ORDINARY = """
A prominent Adam's apple, a Cupid's bow and something of a Mona Lisa smile.
    White background, soft light from the left.
    Black hair falls over the shoulders. Brown eyes look at the camera.
    A man in a T-shirt with the words New York smiles.
    Emotionally, the face looks calm. His lips are closed.
    The woman wears a white blouse and a black hat.
    A young woman with long brown hair and a French braid smiles broadly.
    Judging by the shadows, the light comes from above. The background is black.
    The picture is in black and white, and the man looks down.
    A black and white photo of a man with a beard.
    She has dark skin, full lips and a broad nose.
    His skin is light and smooth, with a healthy glow and a few freckles.
    The collar is ill-fitting, and the edges are ill-defined.
    The red hair is curly. Both ears are visible.
    A girl of about ten years with a gap between her teeth laughs.
    The corners of the mouth are slightly depressed, and the brows are lowered.
    A scar runs over the left cheek; acne marks the chin.
    The light is beautiful light of an evening. A beauty mark is on her cheek.
    The man is pretty close to the camera, and straight hair covers his forehead.
    He wears a Nike cap and a grey Adidas jacket.
    An American flag hangs behind the man.
    Japanese characters can be read on the wall behind her.
    The wrinkles at the temples deepen with the smile.
    A surgical mask covers the lower half of the face.
    She looks tired, with dark rings under her eyes.
    The man's white hair is combed back. White stubble covers his chin.
    It looks like Christmas: a tree with lights stands behind the child.
    This is a close-up. The person is seen from the front.
    The image shows a man, aged 30 to 39. He is in a suit.
    A white-haired man with glasses. A brown-eyed boy beside him.
    The nail polish is red. Polish on the nails catches the light.
    The gaze is patient and the smile is gentle.
    The mouth forms a Cupid's bow, and the nose is a Roman nose.
    There is JPEG compression; the LED light is cold. Gaussian noise covers the shadows.
    Facial Structure: The face is oval. Skin Texture: The skin is smooth.
    A date of May 2019 is printed in the corner. On Monday Morning is written on the mug.
    The head is turned to the Left. I see no editing.
    Rembrandt lighting leaves a triangle of light. A V-neck sweater is grey.
    The shirt reads "Just Do It". A wrapped cloth covers the hair.
    A turban of blue cloth covers the hair, and a cross pendant hangs from a chain.
    The hair is in disorder, and the race car behind him is red.
    The face is symmetrical, with high cheekbones and almond-shaped eyes.
    Blue eyes, thin lips. Soft Light. Neutral Expression.
    In front of a church, a man in a striped tie squints against the sun.
    The expression is mixed: surprise and a hint of joy. Hardly any make-up can be seen.
    A bright window blind is behind her; brush strokes are visible on the canvas.
    Her olive complexion has a yellowish cast from the lamp.
    Smooth skin. Thick Eyebrows. Slightly Parted Lips. General Appearance: a man in a suit.
    The mug says "World's Best Dad". The sign behind him reads "No Smoking".
    She wears a Hawaiian shirt and a Chicago Bulls cap.
    The background is white, young leaves in front. An infectious smile.
    The picture suffers from noise. The hair is beautifully lit.
    The features are typical of young adulthood, and the skin appears healthy.
"""


def lines(text):
    return [line.strip() for line in text.strip().splitlines()]


@pytest.mark.parametrize(
    ("reason", "text"), [(reason, text) for reason in DELICATE for text in lines(DELICATE[reason])]
)
def test_a_delicate_description_is_found_with_its_reason(reason, text):
    assert delicate_reason(text) == reason


@pytest.mark.parametrize("text", lines(ORDINARY))
def test_an_ordinary_description_is_let_through(text):
    assert delicate_reason(text) is None


@pytest.mark.parametrize("text", lines(DELICATE["speaks of race or ethnicity"]))
def test_race_passes_where_it_was_asked_for_and_is_no_name(text):
    assert speaks_of_race(text) and delicate_reason(text, race=True) is None


def test_race_asked_for_lets_nothing_else_pass():
    text = "A Korean woman; she resembles Yuna Kim."
    assert delicate_reason(text, race=True) == "names a person"
    assert delicate_reason("A Korean nun.", race=True) == "speaks of religion"


@pytest.mark.parametrize(
    "text", ["The East Asian woman smiles.", "South Korean or Southeast Asian.", "Latino Hispanic."]
)
def test_words_of_origin_are_no_names(text):
    assert not names_a_person(text)
