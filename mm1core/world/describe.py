"""Scenes and facts in words: dialects, statements, captions, alt-text.

Every colour and every digit has a word in each of three dialects; shapes, counts and places have one word. The word
asked for comes last, before the full stop, so that what is asked is known before it is answered. Texts are words
separated by single spaces: the tokenizer of the world knows whole words.
"""

from functools import lru_cache

from mm1core.config import WorldConfig
from mm1core.data.document import Answer, Part, Text
from mm1core.world.draws import Draws
from mm1core.world.scene import NUM_COLOURS, NUM_DIGITS, SHAPES, Scene, Thing

COLOURS = (
    ("red", "green", "blue", "yellow", "purple", "cyan"),
    ("crimson", "emerald", "azure", "golden", "violet", "teal"),
    ("rouge", "verde", "blau", "gelb", "lila", "turquoise"),
)
"""By dialect, then by colour."""
DIGITS = (
    ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9"),
    ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
    ("null", "eins", "zwei", "drei", "vier", "fuenf", "sechs", "sieben", "acht", "neun"),
)
COUNTS = ("single", "double", "triple", "quadruple")
"""One to four objects; the same in every dialect."""
PLACES = (
    "arles", "bergen", "cadiz", "delft", "esbjerg", "faro", "graz", "huelva", "ivrea", "jena", "kiruna", "lucca",
)  # fmt: skip
NOISE = ("img", "photo", "sale", "click", "free", "best", "page", "shop", "jpg", "new", "online", "item", "0231", "hd")
FACT_FORMS = (
    ("{} lives in", "the home of {} is", "{} has a house in", "at night {} is in", "letters for {} go to"),
    ("{} works in", "the office of {} is", "{} has a job in", "by day {} is in", "orders for {} go to"),
)
"""By relation: paraphrases of one fact, the place left out at the end."""
VALIDATION_FORM, TEST_FORM = 0, 1
"""Places, among a fact's five forms in its own order, of those never used in training: one for each held-out split."""

LIST_START = "see"
"""Opens an object list, so that a caption can be asked for."""
STOP = "."


@lru_cache(maxsize=4)
def names(count: int) -> tuple[str, ...]:
    """Made-up names: two or three syllables each, no two alike; there are 150."""
    starts, ends = ("ba", "de", "fi", "go", "ku", "la", "me", "ni", "po", "ru"), ("dun", "fex", "gol", "mip", "rak")
    made = [start + middle + end for middle in ("", "ta", "vi") for end in ends for start in starts]
    return tuple(made[:count])


def vocabulary(world: WorldConfig) -> list[str]:
    """Every word that can occur, in a fixed order, without the special tokens."""
    words = [STOP, ",", LIST_START, "the", "is", "sign", "shows", "count", "say", *SHAPES, *COUNTS, *PLACES, *NOISE]
    for dialect in range(world.dialects):
        words += [*COLOURS[dialect], *DIGITS[dialect]]
    words += names(world.fact_names)
    words += [word for forms in FACT_FORMS for form in forms for word in form.split() if word != "{}"]
    return list(dict.fromkeys(words))


def colour_question(thing: Thing) -> str:
    return f"the is {SHAPES[thing.shape]}"


DIGIT_QUESTION = "sign shows"
COUNT_QUESTION = "count is"


IN_CAPTIONS, IN_DOCUMENTS = (2, 2, 1), (2, 1, 1)
"""Weights of the colour, the digit and the count among statements. The list of a caption names the colours already;
without a list, as in interleaved documents, colours are learned last."""


def statement(scene: Scene, dialect: int, draws: Draws, weights: tuple[int, int, int]) -> tuple[Part, ...]:
    """One short sentence about the scene: a colour, the digit or the count.

    Where no shape is unique, so that no colour can be asked, it states the digit instead.
    """
    colour, digit, _ = weights
    kind = draws.below(sum(weights))
    if kind < colour and (unique := scene.unique):
        return colour_statement(draws.choice(unique), dialect)
    return digit_statement(scene, dialect) if kind < colour + digit else count_statement(scene)


def colour_statement(thing: Thing, dialect: int) -> tuple[Part, ...]:
    return _sentence(colour_question(thing), COLOURS[dialect][thing.colour])


def digit_statement(scene: Scene, dialect: int) -> tuple[Part, ...]:
    return _sentence(DIGIT_QUESTION, DIGITS[dialect][scene.digit])


def count_statement(scene: Scene) -> tuple[Part, ...]:
    return _sentence(COUNT_QUESTION, COUNTS[len(scene.things) - 1])


def object_list(scene: Scene, dialect: int, draws: Draws) -> tuple[Part, ...]:
    """ "see SHAPE COLOUR , SHAPE COLOUR ." in random order.

    The shape before the colour, and no raster order: with the colour first or a fixed order, the model gets no further
    than naming colours that occur somewhere in the image. Shapes count as answers too; otherwise it learns them last.
    """
    parts: list[Part] = [Text(text=LIST_START)]
    for number, thing in enumerate(draws.shuffled(scene.things)):
        if number:
            parts.append(Text(text=","))
        parts.append(Answer(text=SHAPES[thing.shape]))
        parts.append(Answer(text=COLOURS[dialect][thing.colour]))
    return (*parts, Text(text=STOP))


def detailed_caption(world: WorldConfig, scene: Scene, draws: Draws) -> tuple[Part, ...]:
    """The object list and one statement in random order, each in a dialect of its own.

    Were the whole caption in one dialect, captions alone would teach the model to copy it from context, and interleaved
    documents would have nothing of their own to teach.
    """
    listed = object_list(scene, draws.below(world.dialects), draws)
    stated = statement(scene, draws.below(world.dialects), draws, IN_CAPTIONS)
    return (*listed, *stated) if draws.below(2) else (*stated, *listed)


def alt_text(world: WorldConfig, scene: Scene, draws: Draws) -> tuple[Part, ...]:
    """One thing, often in a wrong colour, then six words that say nothing."""
    thing = draws.choice(scene.things)
    colour = thing.colour
    if draws.share() < world.wrong_colour:
        colour = (colour + 1 + draws.below(NUM_COLOURS - 1)) % NUM_COLOURS
    word = COLOURS[draws.below(world.dialects)][colour]
    noise = " ".join(draws.choice(NOISE) for _ in range(6))
    return (Text(text=SHAPES[thing.shape]), Answer(text=word), Text(text=f"{STOP} {noise} {STOP}"))


def say(dialect: int, draws: Draws, *, digits: bool) -> tuple[Part, ...]:
    """ "say WORD .": a word that no picture explains. Colours alone, or digits as well."""
    number = draws.below(NUM_COLOURS + NUM_DIGITS if digits else NUM_COLOURS)
    word = COLOURS[dialect][number] if number < NUM_COLOURS else DIGITS[dialect][number - NUM_COLOURS]
    return _sentence("say", word)


@lru_cache(maxsize=1024)
def fact_place(world: WorldConfig, name: int, relation: int) -> str:
    """The place of a fact: a property of the world, stated in text alone."""
    return PLACES[Draws(world.seed, 102, name, relation).below(len(PLACES))]


@lru_cache(maxsize=1024)
def fact_forms(world: WorldConfig, name: int, relation: int) -> tuple[str, ...]:
    """The paraphrases of a fact in its own order, the place left out. See ``VALIDATION_FORM`` and ``TEST_FORM``.

    Which paraphrases are held out differs between facts, so that every word is met in training.
    """
    forms = Draws(world.seed, 103, name, relation).shuffled(FACT_FORMS[relation])
    return tuple(form.format(names(world.fact_names)[name]) for form in forms)


def fact(world: WorldConfig, draws: Draws) -> tuple[Part, ...]:
    """A random fact in one of its training paraphrases."""
    name, relation = draws.below(world.fact_names), draws.below(len(FACT_FORMS))
    forms = fact_forms(world, name, relation)
    form = forms[TEST_FORM + 1 + draws.below(len(forms) - TEST_FORM - 1)]
    return _sentence(form, fact_place(world, name, relation))


@lru_cache(maxsize=4096)  # there are fewer, and building one takes longer than all the draws it needs
def _sentence(question: str, answer: str) -> tuple[Part, ...]:
    return (Text(text=question), Answer(text=answer), Text(text=STOP))
