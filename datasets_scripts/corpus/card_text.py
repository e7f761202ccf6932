"""What dataset cards say, in one readable place: the people in the pictures, their rights, and the gate."""

PEOPLE = """\
The pictures show real people. A face is biometric data: whoever holds this corpus answers for having a right to hold
it, for who may see it, and for deleting a picture when the person asks. Do not use it to identify anyone. Labels such
as age and gender are what annotators saw in a picture, not what the people say of themselves."""

DRAWN = "The faces are drawn by a program. They show nobody, and the corpus holds no personal data."

RACE = """\
Race labels are in this corpus because whoever built it asked for them. They are for auditing and balancing data and
models: how accurate is a model, and for whom. Categorising people by race is a prohibited use in the European Union
(AI Act, Article 5), and one word of a list says little about anybody."""

EMOTION = """\
Labels of expression say how a face looks, not what a person feels. Inferring the emotions of people at work or in
schools is a prohibited use in the European Union (AI Act, Article 5)."""

WEB_PICTURES = """\
> [!WARNING]
> **This corpus carries the pixels of {pictures:,} pictures from the web, of people whom nobody asked.** Whoever
> collected them licenses a list or labels, not the pictures: each one belongs to whoever took it, and the person in it
> has rights of their own. Do not pass this corpus on; one that was built without the pictures can be. When a person or
> a photographer asks for a picture to be removed, remove its rows: `url` finds them."""

ANNOTATED = """\
A model wrote captions and attributes of this corpus, and nobody has checked each of them: they can be wrong, and wrong
about some groups of people more often than about others. What they say of age and gender is how a face looks to that
model. The column `annotation` names the model row by row, and `flags` the contradictions found in what it said. The
model's own licence may have terms for what it wrote."""

RECORD = """\
One row is one picture with a conversation about it: `image`, `messages` (chat turns; the picture stands first in the
first user turn), `task`, `labels` (what the turns were made from; null is unknown), `annotation` (which model wrote
the words; null where none did), `split`, `source`, `license`, and `url`, `box` and `landmarks`, which say where a
picture is to be found that is not carried."""

GATE_HEADING = "Ask for access to a corpus about people's faces"

GATE_PROMPT = (
    "This corpus is about the faces of real people. A face is biometric data, and whoever gets a copy answers for it. "
    "Tell its keepers who you are and what you will do with it, and promise the following."
)

GATE_FIELDS = {  # of the types that the Hub knows: text, country, select, checkbox
    "Name": "text",
    "Affiliation": "text",
    "Country": "country",
    "Purpose": {
        "type": "select",
        "options": ["Research", "Teaching", "Auditing a model or a data set", {"label": "Other", "value": "other"}],
    },
    "What I will do with it": "text",
    "I will not use it to identify people, to recognise faces, or to sort people by race": "checkbox",
    "I have a lawful ground for processing biometric data where I am, and keep the terms of every source": "checkbox",
    "I will keep it to myself, and delete what its keepers ask me to delete": "checkbox",
}
