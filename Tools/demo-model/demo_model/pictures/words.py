"""What the grammar can say: colours, shapes, solids, named objects, scenes, places and relations."""

COLOURS = {
    "red": (218, 32, 32), "orange": (250, 140, 20), "yellow": (250, 218, 30), "green": (40, 160, 60),
    "blue": (35, 75, 215), "purple": (130, 45, 175), "pink": (248, 130, 180), "brown": (125, 75, 35),
    "black": (22, 22, 24), "white": (246, 246, 246), "gray": (135, 138, 142), "cyan": (50, 205, 225),
}
SHAPES = ["circle", "square", "triangle", "star", "heart", "ring", "cross", "diamond", "moon", "hexagon"]
SOLIDS = ["cube", "sphere", "cone", "cylinder"]
SYNONYMS = {
    "circle": ["disc"], "cross": ["plus sign"], "moon": ["crescent moon", "crescent"], "diamond": ["rhombus"],
    "sphere": ["ball"],
}
# Named objects and the characters that draw them in Noto Color Emoji; sprites.npz holds the pictures.
OBJECTS = {
    "cat": "🐱", "dog": "🐶", "frog": "🐸", "pig": "🐷", "penguin": "🐧", "whale": "🐳", "butterfly": "🦋",
    "ladybug": "🐞", "tree": "🌳", "pine tree": "🌲", "cactus": "🌵", "sunflower": "🌻", "mushroom": "🍄", "apple": "🍎",
    "banana": "🍌", "grapes": "🍇", "watermelon": "🍉", "pineapple": "🍍", "ice cream": "🍦", "pumpkin": "🎃",
    "car": "🚗", "airplane": "✈️", "rocket": "🚀", "boat": "⛵", "house": "🏠", "sun": "🌞", "rainbow": "🌈",
    "umbrella": "☂️", "balloon": "🎈", "gift": "🎁", "crown": "👑", "guitar": "🎸",
}
PLURALS = {"grapes": "grapes", "butterfly": "butterflies", "cross": "crosses", "cactus": "cactuses"}
ALREADY_PLURAL = {"grapes"}
NAMES = SHAPES + SOLIDS + list(OBJECTS)

SCENES = {
    "field": ["on a green field", "on the grass", "in a meadow"],
    "sea": ["in the sea", "on the sea", "on the ocean"],
    "night": ["at night", "in the night sky", "under the stars"],
    "space": ["in space", "in outer space"],
    "desert": ["in the desert", "on the sand in a desert"],
    "snow": ["in the snow", "on a snowy day"],
    "sunset": ["at sunset", "in front of a sunset"],
    "forest": ["in a forest", "in the woods"],
    "mountains": ["in the mountains", "in front of mountains"],
    "beach": ["on the beach", "on a sandy beach"],
    "table": ["on a wooden table", "on a table"],
}
SCENES_WITH_GROUND = {"field", "sea", "desert", "snow", "forest", "mountains", "beach", "table"}
PLAIN = ["on a %s background", "on %s", "with a %s background", "on a plain %s background"]
GRADIENTS = ["on a gradient from %s to %s", "with a %s to %s gradient background"]

PLACES = {
    "on the left": (32, 64), "on the right": (96, 64), "at the top": (64, 33), "at the bottom": (64, 95),
    "in the top left corner": (32, 32), "in the top right corner": (96, 32), "in the bottom left corner": (32, 96),
    "in the bottom right corner": (96, 96), "in the center": (64, 64),
}
MIDDLE = "in the middle"
RELATIONS = {
    "left": ["to the left of", "left of"], "right": ["to the right of", "right of"],
    "on top": ["on top of", "on top of", "sitting on", "stacked on"], "above": ["above", "over"],
    "below": ["below", "under", "beneath"], "next": ["next to", "beside"], "and": ["and"],
}
SIZES = {"small": ["small", "little", "tiny"], "large": ["large", "big"]}
NUMBERS = {2: "two", 3: "three", 4: "four"}
PREFIXES = ["a photo of ", "a picture of ", "an illustration of ", "a drawing of ", "an image of "]
SUFFIXES = [", high quality", ", simple", ", digital art", ", illustration", ", detailed", ", colorful"]


def with_article(phrase: str) -> str:
    vowel = phrase[0] in "aeiou" and not phrase.startswith("uni")
    return f"an {phrase}" if vowel else f"a {phrase}"


def plural(word: str) -> str:
    return PLURALS.get(word, word + "s")


def is_solid(name: str) -> bool:
    return name in SOLIDS


def is_named(name: str) -> bool:
    return name in OBJECTS
