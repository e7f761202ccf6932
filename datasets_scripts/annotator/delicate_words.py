"""Words that no description in a corpus may have: names, race, religion, health, orientation, attractiveness.

The tables catch what they list, in English, and no more: a lower-case name, a first name that is not listed, a
paraphrase or another language gets through, and now and then a harmless sentence is refused. They lower how often
a corpus speaks of these things; they are no guarantee, and no substitute for reading a sample.
"""

import re

_PERSON = (
    r"(?:m[ae]n|wom[ae]n|person|persons|people|boys?|girls?|child(?:ren)?|infants?|bab(?:y|ies)|toddlers?"
    r"|males?|females?"
    r"|individuals?|adults?|adolescents?|teen(?:ager)?s?|lady|ladies|gentlem[ae]n|guys?|couple|subject|face|features"
    r"|actor|actress|singer|model)"
)
_ADJECTIVES = r"(?:(?:young|old|older|elderly|middle-aged|adult|teenage|little|senior|smiling|bearded|bald)[ ,]+){0,2}"
_SOMEBODY = r"(?:he|she|they|person|individual|subject|m[ae]n|wom[ae]n|boy|girl|child|infant|baby)"
_SEEMS = r"(?:is|are|was|looks?|appears?|seems?)(?: to be| as if)?(?: likely| probably| very| quite| rather| a bit)?"

# race, ethnicity, nationality: demonyms of the world's countries, and of regions and peoples
_DEMONYMS = """
    Afghan Albanian Algerian Andorran Angolan Antiguan Argentine Argentinian Armenian Australian Austrian Azerbaijani
    Bahamian Bahraini Bangladeshi Barbadian Belarusian Belgian Belizean Beninese Bhutanese Bolivian Bosnian Botswanan
    Brazilian British Bruneian Bulgarian Burkinabe Burmese Burundian Cambodian Cameroonian Canadian Chadian Chilean
    Chinese Colombian Comorian Congolese Croatian Cuban Cypriot Czech Danish Djiboutian Dominican Dutch Ecuadorian
    Egyptian Emirati English Eritrean Estonian Ethiopian Fijian Filipin[oa] Finnish French Gabonese Gambian Georgian
    German Ghanaian Greek Grenadian Guatemalan Guinean Guyanese Haitian Honduran Hungarian Icelandic Indian Indonesian
    Iranian Iraqi Irish Israeli Italian Ivorian Jamaican Japanese Jordanian Kazakh(?:stani)? Kenyan Korean Kosovar
    Kosovan Kuwaiti Kyrgyz Laotian Latvian Lebanese Liberian Libyan Liechtensteiner Lithuanian Luxembourgish Macedonian
    Malagasy Malawian Malaysian Maldivian Malian Maltese Mauritanian Mauritian Mexican Micronesian Moldovan Monegasque
    Mongolian Montenegrin Moroccan Mozambican Namibian Nauruan Nepal(?:ese|i) Nicaraguan Nigerian Nigerien Norwegian
    Omani Pakistani Palauan Palestinian Panamanian Papuan Paraguayan Peruvian Portuguese Qatari Romanian Russian
    Rwandan Salvadoran Samoan Saudi Senegalese Serbian Seychellois Singaporean Slovak(?:ian)? Slovenian? Somali(?:an)?
    Spanish Sudanese Surinamese Swazi Swedish Swiss Syrian Taiwanese Tajik Tanzanian Thai Timorese Togolese Tongan
    Trinidadian Tunisian Turkish Turkmen Ugandan Ukrainian Uruguayan Uzbek Vanuatuan Venezuelan Vietnamese Welsh Yemeni
    Zambian Zimbabwean Scottish American
    Asian African European Caribbean Arab(?:ian|ic)? Amerindian Anglo-\\w+ Afro-(?!textured)\\w+ Balkan Baltic Bedouin
    Bengali Berber Cantonese Catalan Caucasian Celtic Chicano Chicana Creole Desi Eurasian Germanic Gujarati Han Hausa
    Hawaiian Hispanic Hmong Igbo Inuit Kurd(?:ish)? Latin[oax] Malay Maori Mediterranean Melanesian Mongol Nordic
    Pashtun Persian Polynesian Punjabi Romani Scandinavian Serb Croat Slavic Tamil Tatar Tibetan Turkic U[iy]gh?ur
    Yoruba Zulu Briton Spaniard Swede Scot Turk
"""
_OF_THINGS = (  # "French braid", "Japanese characters": things, not people
    r"(?:(?:\w+ )?(?:braid(?:s|ed)?|plaits?|twist|crop|tuck|tips?|manicure|bun|knot|door|doors|window|bulldog|shepherd"
    r"|terrier|rug|carpet|towel|leather|flags?|football|garden|text|words?|letters?|lettering|characters|script|writing"
    r"|language|angle|collar|chain|links?|cuff|lace|linen|silk|cotton|wool|marble|tweed|restaurant|food|lanterns?"
    r"|porcelain|prints?|fabric|textile|patterns?|shirt|sweater|tartan|watch|ink|lily|lilies|violets?)\b)"
)
_RACE = re.compile(
    rf"\b(?:(?:{'|'.join(_DEMONYMS.lower().split())})s?\b(?![ -]{_OF_THINGS})"
    r"|(?:french|irish|english|dutch|welsh|china)(?:m[ae]n|wom[ae]n)\b"
    rf"|(?:latin|polish|lao)(?= {_ADJECTIVES}{_PERSON}\b|[- ]americans?\b)"
    r"|(?:rac(?:e|es|ial|ially)|(?:bi|inter|mono|multi)racial|ethnic\w*|descent|ancest\w+|heritage|lineage|nationalit\w+|indigenous"
    r"|aboriginals?|native american|oriental|immigrants?"
    r"|mulatt\w+|mestiz\w+|negr(?:o|oes|oid)|mongoloid|gyps(?:y|ies)"
    r"|monolid(?:s|ded)?|epicanth\w+|middle[- ]east\w*|pacific islanders?|sub-saharan)\b(?! (?:car|track|bib"
    r"|number)s?\b)"
    r"|(?:east|south|southeast|central|north|west)(?:ern)?[- ](?:asia|africa|europe)\b"
    r"|(?:national|foreign|geographic\w*|cultural) (?:origins?|background)\b"
    r"|(?:single|slanted|slanting) eye(?:lid|s)\w*|eyes? (?:\w+ )?slant\w*"
    r"|yellow(?:ish)?[- ](?:complexion|skin(?:ned)?|skin tone)\b|(?:complexion|skin tone) (?:is|appears) yellow"
    rf"|{_PERSON} of colou?r\b"
    rf"|(?:black|white|brown)(?=(?:[- ]skinned)? {_ADJECTIVES}{_PERSON}(?<!face)(?<!features)\b)"
    rf"|(?<=\ba )(?:black|white|brown)(?=, {_ADJECTIVES}{_PERSON}\b)"
    rf"|{_SOMEBODY} {_SEEMS} (?:black|white|brown)(?=[.,;]| or | with )"
    r")"
)
_ORIGIN = re.compile(  # what only a capital shows
    r"\bPolish\b(?! (?:on|is|covers)\b)"
    rf"|\b(?i:comes?|hails?|originates?|native|{_PERSON}) from (?:the )?[A-Z][a-z]"
)

# religion: faiths, who holds them by profession, and what is worn for them by name; a turban or a cross is a form
_RELIGION = re.compile(
    r"\b(?:muslims?|moslems?|islam\w*|christian(?:s|ity)?|catholic\w*|protestant\w*|evangelical\w*"
    r"|orthodox(?= (?:jew|christian|church|priest))|jews?|jewish"
    r"|judaism|hasidic|hindu\w*|sikh\w*|buddhis\w*|taois\w*|jains?|bah[aá]['’]?[ií]|mormons?|amish|quakers?|atheis\w*"
    r"|religio\w*|faith|faiths|devout\w*|pious|worship\w*|pray(?:s|ing|er|ers)?|nuns?|monks?|priests?"
    r"|priestess"
    r"|imams?|rabbis?|bishops?|popes?|clergy\w*|clerics?|clerical|nun's habit|hijab\w*|niqab\w*|burqas?|burkas?"
    r"|chadors?|kippah?s?|yarmulkes?|bindis?|tilaka?"
    r"|rosar(?:y|ies)|crucifix\w*|star of david|bibles?|qur['’]?an|koran)\b",
)

# health: diagnoses, disability, states of mind and drink; marks that can be seen (scar, acne, bruise, mask) are none
_HEALTH = re.compile(
    r"\b(?:\w*syndromes?|diseases?|diseased|illness\w*|ailments?|ill(?!-)|sick|sickly|sickness|unwell|unhealthy"
    r"|infect(?:ed|ions?)"
    r"|symptoms?|diagnos\w+|(?:a skin|medical|health|genetic|chronic) (?:condition|issue|problem)s?"
    r"|(?:mental|skin|eating|genetic|personality|anxiety|mood) disorders?|health|disabilit\w+|disabled|handicap\w*"
    r"|impairments?|(?:visually|hearing|mentally|physically|cognitively) (?:impaired|challenged|ill)|wheelchairs?"
    r"|hearing aids?|blindness|(?<!window )(?<!venetian )blind(?! spot)|deaf\w*|mute person|autis\w+|dementia"
    r"|alzheimer\w*|parkinson\w*|epilep\w+|palsy|paraly[sz]\w+|amput\w+|dwarfism|albin\w+|vitiligo|psoriasis"
    r"|eczema|rosacea|melasma"
    r"|dermatitis|alopecia|jaundice\w*|anemi[ac]|anaemi[ac]|leprosy|cleft (?:lip|palate)|strabismus|cross-eyed"
    r"|lazy eye|ptosis|cataracts?|glaucoma|cancer\w*|chemo\w*|tumou?rs?|leuk\w+|diabet\w+|asthma\w*|allerg\w+"
    r"|fever\w*|flu(?!-)"
    r"|covid\w*|hiv|stroke (?:patient|survivor|victim)|suffering from|pregnan\w+|obes\w+|overweight"
    r"|anorexi\w+|bulimi\w+|malnourish\w+|schizo\w+|bipolar|psychotic|psychosis|psychiatric|ptsd|suicid\w+"
    r"|depression(?! in)|depressed(?! (?:nasal|nose|bridge|lip|mouth|corner|scar|brow))|depressive"
    r"|drunk\w*|intoxicat\w+|inebriat\w+|tipsy|hung ?over|alcoholi\w+|addict(?:s|ed|ions?)?|drug (?:use|user|abuse)\w*"
    r"|patients|(?:the|this|hospital) patient(?! (?:look|expression|gaze|smile))"
    rf"|{_SOMEBODY} suffers from|healthy[ ,]+{_ADJECTIVES}{_PERSON}(?<!face)(?<!features)"
    rf"|{_SOMEBODY} {_SEEMS} (?:\w+ and )?healthy)\b",
)
_NOT_HEALTH = re.compile(
    r"\b(?:corners?|lips?|brows?)(?: of the mouth)?(?: are| is| look| appear)?(?: \w+ly)? depressed", re.IGNORECASE
)

_ORIENTATION = re.compile(
    r"\b(?:gays?|lesbians?|homosexual\w*|heterosexual\w*|bisexual\w*|asexual|pansexual|queer\w*|lgbt\w*|same-sex"
    r"|homoerotic|sexual (?:orientation|preference|identity)|sexuality|trans(?:gender\w*|sexual\w*| (?:m[ae]n"
    r"|wom[ae]n|person))"
    rf"|non-?binary|gender identity|drag queens?|straight (?:m[ae]n|wom[ae]n|guys?|couple)"
    rf"|{_SOMEBODY} is straight(?=[.,;]))",
)

_OF_PICTURES = (
    r"(?! (?:light\w*|lit|background|scener\w+|landscape|sunset|garden|bokeh|composition|setting|colors?"
    r"|dress|jewelry|flowers?)\b)"
)
_ATTRACTIVENESS = re.compile(
    rf"\b(?:(?:un)?attractive\w*|beautiful\b{_OF_PICTURES}|gorgeous\b{_OF_PICTURES}|stunning\b{_OF_PICTURES}"
    r"|handsome\w*|good[- ]look(?:s|ing)|(?:bad|plain|better|best)-looking|ugly|ugliness|hideous|homely|repulsive"
    r"|unsightly|sexy|hot (?:m[ae]n|wom[ae]n|girl|guy)|cute\w*|adorabl\w+|photogenic|lovely (?:face|woman|girl"
    r"|lady|features)"
    rf"|pretty (?:\w+ )?{_PERSON}|{_SOMEBODY} {_SEEMS} pretty(?=[.,;]| and )|prett(?:ier|iest)"
    r"|(?<!a )beauty(?! (?:marks?|spots?|dish|light\w*|portrait|filter|products?|shot|retouch\w*)))\b",
)

# names: what may be capitalised at the head of a run without being the first name of somebody
_ORDINARY_WORDS = """
    a about above across after against all along also although always among an and another any around as at bare
    based because before behind below beneath beside besides between beyond both but by can clear close colored
    combined compared could despite do does down due during each either even every few finally first for fourth
    from further furthermore given hardly has have he her here hers high his how however i if in indeed instead
    into is it its just last later least lastly left less like likewise lines little long low many meanwhile
    more moreover most much near nearly neither no none nor not nothing notably now of off often on one only
    onto or other others our out outside over overall owing part partly per perhaps possibly quite rather right
    same second seen several she short similarly since slight slightly small so some something somewhat still
    strong such than that the their them then there therefore these they thick thin third this those though
    three through thus to together too toward towards two under underneath until up upon very was we well were
    what when where whereas which while who whose wide with within without yes yet you your big large tall tiny
    old older young younger elderly new adult teenage senior middle-aged middle aged mature black white gray
    grey brown blonde blond red green blue yellow pink purple orange golden gold silver dark light pale bright
    warm cool cold deep fair tan tanned beige navy olive auburn ginger hazel amber violet scarlet ivory soft
    hard sharp harsh natural artificial uneven diffuse diffused directional ambient studio indoor outdoor smooth
    rough fine full round oval square narrow broad straight curly wavy curved arched bushy sparse neat messy
    loose tight plain simple solid striped patterned blurred blurry bokeh shallow open closed half visible
    subtle gentle mild faint moderate minimal medium average typical general calm serious neutral happy sad
    angry surprised relaxed pensive thoughtful joyful cheerful friendly positive negative merry good great best
    modern vintage classic casual formal professional colorful low-quality high-quality face faces facial head
    hair hairline forehead brow brows eyebrow eyebrows eye eyes eyelids eyelashes lashes nose nostrils nasal
    cheek cheeks cheekbones mouth lip lips teeth tooth chin jaw jawline ear ears earrings neck shoulders skin
    complexion tone texture wrinkles freckles pores beard mustache moustache stubble goatee sideburns makeup
    make-up lipstick eyeliner mascara glasses eyeglasses sunglasses hat cap hood helmet scarf tie suit shirt
    t-shirt jacket sweater dress coat collar necklace jewelry clothing background foreground lighting shadow
    shadows image picture photo photograph portrait quality resolution exposure contrast noise compression focus
    depth color colors colour colours pose gaze expression emotion smile age gender sex appearance shape
    structure symmetry features feature details description demographic demographics attributes forensic
    considerations observations assessment analysis summary conclusion note person people man men woman women
    boy girl child children infant baby toddler male female individual subject viewer camera model gentleman
    lady judging looking wearing smiling dressed framed lit turned standing sitting seated holding facing
    showing set minor fullness lower upper front side top bottom center profile mid wisps strands locks bangs
    bald close-cropped january february march april may june july august september october november december
    monday tuesday wednesday thursday friday saturday sunday christmas halloween easter birthday santa east
    eastern west western north northern south southern southeast southwest northeast central pacific native
    islander united nike adidas puma gucci chanel apple instagram photoshop adobe gaussian rembrandt canon nikon
    parted rosy trimmed raised groomed rounded pointed styled world team love dad mom day tilted frontal
    hairstyle accessories posture
"""
_PLACES = re.compile(  # and other names of two words that are nobody's here: on shirts, caps, in backgrounds
    r"\b(?:New York(?: (?:City|Yankees|Mets|Knicks))?|Los Angeles(?: (?:Lakers|Dodgers))?|Las Vegas|San Francisco"
    r"|San Diego|Washington(?: DC)?|Hong Kong|Sri Lanka|Saudi Arabia|South Africa|Costa Rica|Puerto Rico|El Salvador"
    r"|Rio de Janeiro|Sao Paulo|Buenos Aires|Abu Dhabi|Tel Aviv|Times Square|Eiffel Tower|Big Ben"
    r"|Golden Gate(?: Bridge)?|Central Park|White House|Chicago (?:Bulls|Cubs)|Boston (?:Celtics|Red Sox)"
    r"|Red Sox|Real Madrid"
    r"|Manchester United|Star Wars|Hello Kitty|Mickey Mouse|Santa Claus|Coca[- ]Cola|Under Armour|Ray[- ]Bans?"
    r"|Hard Rock(?: Cafe)?"
    r"|Adam['’]s apple|Mona Lisa|North Face|Air Jordan|World Cup|Air Force|Creative Commons|Getty Images)\b"
)
_NAMES = """
    Aaron Abigail Adam Adele Ahmed Alejandro Alex Alexander Ali Alice Alicia Amanda Amy Andrea Andrew Angela Angelina
    Anna Anne Anthony Antonio Aisha Barack Barbara Benjamin Beyonce Brad Brandon Brian Britney Bruce Carlos Caroline
    Catherine Charles Charlotte Chris Christina Christopher Cristiano Cynthia Daniel David Deborah Denzel Diana Donald
    Dwayne Edward Elena Elizabeth Ellen Elon Emily Emma Eric Fatima Fernando Gabriel George Giovanni Hannah Harry
    Heather Helen Henry Hillary Isabella Ivan Jackie Jacob James Jamie Jane Janet Jason Javier Jeff Jennifer Jeremy
    Jessica Joanna Joe John Johnny Jonathan Joseph Joshua Juan Julia Julie Justin Karen Katherine Keanu Keira Kevin
    Kim Kimberly Kylie Laura Lauren Leonardo Lionel Lisa Luis Madonna Margaret Maria Marie Marilyn Mario Mary Matthew
    Megan Melissa Meryl Michael Michelle Miguel Mohamed Mohammed Morgan Muhammad Natalie Nicholas Nicole Olga Olivia
    Oprah Pablo Pamela Patricia Patrick Paul Pedro Peter Philip Priya Rachel Rajesh Rebecca Richard Rihanna Robert
    Ronald Ryan Samantha Sandra Sarah Scott Sean Sergio Sharon Shakira Sofia Sophia Sophie Stephanie Stephen Steven
    Susan Taylor Theresa Thomas Timothy Tom Tony Vladimir Wei William Yuki Zendaya Zoe
    Beckham Biden Buddha Clinton Einstein Elvis Gandhi Hitler Jesus Kardashian Macron Mandela Meghan Merkel Messi Modi
    Mozart Obama Picasso Putin Ronaldo Trump Zelensky Zlatan
"""
_ORDINARY, _GIVEN_NAMES = set(_ORDINARY_WORDS.split()), set(_NAMES.split())
_PARTICLES = {"de", "da", "di", "del", "della", "der", "den", "du", "la", "le", "van", "von", "bin", "ibn", "al", "el"}
_OCCUPATIONS = (
    r"(?:act(?:or|ress)|singer|musician|rapper|politician|athlete|footballer|player|comedian|director|writer|author"
    r"|celebrity|model|star|host|journalist|president|minister|chancellor|senator|king|queen|prince|princess"
    r"|character)"
)
_TITLES = (
    r"(?:Mr|Mrs|Ms|Miss|Dr|Prof|Professor|President|Senator|Governor|Chancellor|Minister|Prince|Princess|King"
    r"|Queen|Sir"
    r"|Dame|Lady|Lord|Duke|Duchess|Captain|General|Colonel|Sergeant|Judge|Coach|Saint|Sheikh|Pope|Mayor)\.?"
)
_INTRODUCED = re.compile(
    rf"\b(?:(?i:resembl\w+|looks? (?:\w+ )?like|(?:similar|likeness) to|reminiscent of|impersonat\w+"
    rf"|lookalike of|named"
    rf"|called|known as|identified as|recogni[sz]ed as|portrayed by|played by|(?:portrait|picture|photo"
    rf"|photograph|image) of"
    rf"|(?:this|he|she|it) is(?: likely| probably| clearly)?|{_OCCUPATIONS}))"
    r"(?: the| a| an| young| younger| older| late)* (?P<name>[^\W\d_a-zß-öø-ÿ][^\W\d_]+)"
    rf"|\b{_TITLES} (?P<titled>[A-Z][^\W\d_]+)"
)
_WORD = re.compile(r"[^\W\d_][\w'’-]*")


def delicate_reason(text: str, race: bool = False) -> str | None:
    """Why a description is not kept, in words that are the same for all with that fault; None where nothing is found.

    `race` lets words of race and ethnicity pass, and nothing else.
    """
    checks = (
        ("names a person", names_a_person),
        ("speaks of race or ethnicity", speaks_of_race),
        ("speaks of religion", speaks_of_religion),
        ("speaks of health", speaks_of_health),
        ("speaks of sexual orientation", speaks_of_orientation),
        ("speaks of attractiveness", speaks_of_attractiveness),
    )
    return next((why for why, found in checks if not (race and found is speaks_of_race) and found(text)), None)


def speaks_of_race(text: str) -> bool:
    """Whether a text has a word for a race, ethnicity, nationality or origin, or a feature that stands for one.

    Colours of hair, clothes and skin ("dark skin") are none, nor are things ("French braid", "American flag").
    """
    return _RACE.search(text.lower()) is not None or _ORIGIN.search(text) is not None


def speaks_of_religion(text: str) -> bool:
    """Whether a text has a word for a faith, for its clergy, or for what is worn for it ("hijab"; not "headscarf")."""
    return _RELIGION.search(text.lower()) is not None


def speaks_of_health(text: str) -> bool:
    """Whether a text says how well somebody is: disease, disability, state of mind, drink, pregnancy, weight.

    What can be seen of the skin ("a scar", "acne", "a healthy glow") is no such word, nor is a look ("tired").
    """
    return _HEALTH.search(_NOT_HEALTH.sub("", text.lower())) is not None or "AIDS" in text


def speaks_of_orientation(text: str) -> bool:
    """Whether a text has a word for a sexual orientation or a gender identity."""
    return _ORIENTATION.search(text.lower()) is not None


def speaks_of_attractiveness(text: str) -> bool:
    """Whether a text judges how good somebody looks; "beautiful light" and "a beauty mark" do not."""
    return _ATTRACTIVENESS.search(text.lower()) is not None


def names_a_person(text: str) -> bool:
    """Whether a text has two capitalised words in a row that are no place or ordinary word, or a name by its context.

    Context: a common given name, a title, an occupation, "resembles", "portrait of", "this is" and their like.
    """
    text = _PLACES.sub("—", text)
    for found in _INTRODUCED.finditer(text):
        word = found["name"] or found["titled"]
        if not (_ordinary(word) or word.isupper()):
            return True
    run: list[str] = []
    end = 0
    for found in _WORD.finditer(text):
        word, between = found[0], text[end : found.start()]
        joined = between == " " or (between == ". " and bool(run) and len(run[-1]) == 1)
        plain = re.sub(r"['’]s?$", "", word)
        end = found.end()
        if plain.title() in _GIVEN_NAMES and word[0].isupper():
            return True
        if joined and run and word in _PARTICLES:
            continue
        if not joined:
            run = []
        if not plain[:1].isupper() or (len(plain) > 1 and plain.isupper()) or plain[1:2] == "-" or _of_a_group(plain):
            run = []
        elif run or not _ordinary(plain):
            run.append(plain)
            if len(run) > 1 and any(len(part) > 1 and not _ordinary(part) for part in run):
                return True
    return False


def _ordinary(word: str) -> bool:
    return word.lower() in _ORDINARY or _of_a_group(word)


def _of_a_group(word: str) -> bool:
    return any(words.fullmatch(word.lower()) for words in (_RACE, _RELIGION)) or word == "Polish"
