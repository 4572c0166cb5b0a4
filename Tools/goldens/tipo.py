"""Makes Tests/CalderaTIPOTests/Fixtures/tipo.json: what tipo-kgen makes of texts that a model might have written.

tipo-kgen's own functions run with its `generate` replaced by one that gives canned texts, and with short lists of
invented names in place of its long ones.

Run from anywhere with a Python that has tipo-kgen (0.3.1): python Tools/goldens/tipo.py
"""

import json
import random
from pathlib import Path

import kgen.executor.tipo as tipo
import kgen.formatter as formatter
from kgen.metainfo import POSSIBLE_QUALITY_TAGS, RATING_TAGS, SPECIAL, TIPO_DEFAULT_FORMAT

OUTPUT = Path(__file__).resolve().parents[2] / "Tests/CalderaTIPOTests/Fixtures/tipo.json"

LISTS = {
    "copyrights": ["blue lantern", "castle of glass (series)", "original"],
    "meta": ["highres", "absurdres", "commentary", "safe"],
    "artist": ["quiet heron", "ink_and_salt", "original"],
    "characters": ["mira vale", "mira vale (winter)", "tam_o", "émile"],
}
FORMS = list(TIPO_DEFAULT_FORMAT.values()) + [
    "<|special|>, <|general|>", "<|rating|>, <|quality|>, <|nonsense|><|general|>", "<|tag|>\n\n\n\n<|extended|>   x <|generated|>",
    "<|generated|>.\n  <|extended|>.", "no place", "<|special|>,<|general|>,,<|artist|>, <|a <|b|> c|> <|artist|>x|>", "<|broken <|general|>\n|> <|x|><|y", ", ,<|rating|>,",
    "<|target|>\n <|aspect_ratio|>\n\n\n\n<|quality|>,  <|meta|>", "<||> <|> <|general|>|><|special|>",
]
LENGTHS = ["very_short", "short", "long", "very_long"]

WORDS = ("long_hair blue_eyes smile solo looking_at_viewer skirt ^_^ >_< :d red_scarf snow night_sky tree hat indoors window "
         "rain umbrella sitting standing holding_cup cup table cat_ears tail boots gloves coat ribbon bow jewelry necklace "
         "open_mouth closed_eyes from_side cowboy_shot full_body simple_background white_background day cloud field flower "
         "river bridge lantern_light stairs school_uniform sleeves_past_wrists hair_ornament braid short_hair é naïve 猫耳").split()
SPECIALS = ["1girl", "2girls", "1boy", "male_focus", "multiple girls"]
NAMES = ["quiet_heron", "ink_and_salt", "mira vale", "mira_vale_(winter)", "blue_lantern", "original", "highres", "masterpiece",
         "best_quality", "safe", "general", "newest", "score_9", "émile", "e\u0301mile", "absurdres"]
SENTENCES = ["A girl stands in the snow", "Her scarf is red", "The sky is dark above the trees", "Lanterns hang over the bridge",
             "A cat sleeps by the window", "Rain falls on the field", "She holds a cup of tea in both hands", "The light is soft and warm",
             "In the distance there is a castle", "It is quiet", "The picture is drawn in watercolour", "Her hair moves in the wind"]


def tags(source, most):
    picks = [source.choice(WORDS) for _ in range(source.randint(0, most))]
    picks += [source.choice(SPECIALS) for _ in range(source.randint(0, 2))] + [source.choice(NAMES) for _ in range(source.randint(0, 3))]
    source.shuffle(picks)
    return picks


def text(source, most):
    picks = [source.choice(SENTENCES) for _ in range(source.randint(0, most))]
    return (". ".join(picks) + source.choice([".", "", ". "])) if picks else ""


ODD = [
    "", "\n", "garbage without any key", "<s></s>", ":", "a:b", ": x\n:y\nz", "tag:", "tag: ,, ,", "tag: 1girl,solo, ,hat,", "tag: 1girl\ntag: 2girls, hat\nlong: One. Two.\nlong: Three.",
    "long: <|empty|>\nshort: <|empty|>\ntag: <|empty|>", "rating: safe, general\ntag: safe, nsfw, smile", "short: A cat.\n It sleeps: well.\nlong:", "long: A girl in the snow.\nstill the same. And\n\nmore.\ntag: snow, smile",
    "general: hat, bow\ntag: smile, hat", "special: 1girl\ntag: 1girl, 2girls", "tag : 1girl, hat\n long : A girl. Her hat.", "meta: highres\nartist: quiet heron\nquality: masterpiece\ntag: highres, quiet_heron, masterpiece",
    "target: <|long|> <|tag_to_long|>\ntag: smile\nlong: " + ". ".join(SENTENCES) + ".", "TAG: hat\nTag: bow", "tag: a_b, ab_c, abc_d, _, __, ____", "tag: <|general|>, <|quality|>, hat", "short: <|general|> and <|rating|>.\ntag: hat",
    "tag: hat\r\nlong: One.\r\nTwo.", "tag: hat\x0bbow\nlong: x\x0cy", "tag: hat\u2028bow\u00a0, \u3000smile\u3000", "s: leading letters\ntag: hats</s>", "long: ...\nshort: . . .", "long: Same. Same. Same. Other.\nshort: Same. Same. Last.",
    "tag: " + ", ".join(WORDS * 2), "tag: " + ", ".join(WORDS[:36]), "tag: " + ", ".join(WORDS[:19]), "aspect_ratio: 1.0\ncopyrights: <|empty|>\ntag: hat\nshort: A\nlong: B",
    "short: It stands. It stands there. The end", "tag: e\u0301mile, \u00e9mile, e\u0301, \u00e9", "short: Her scarf is red and long. The end.\nlong: The end. New one.",
]
BANS = [[], [], [], ["hat"], ["^b.w$", "smile"], ["[a-m].*"], ["red|blue"], [r"\w+_eyes", r"long\b"], ["(?!s)"], ["mira", "quiet"], [".{1,4}$"], [r"1girl|2girls", "é"]]


def fnv(text):
    """FNV-1a (32 bits) of a text's UTF-8."""
    value = 0x811C9DC5
    for byte in text.encode():
        value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
    return value


class Model:
    """Gives canned texts behind the prompt, or odd ones; as transformers does, it may seed Python's generator."""

    def __init__(self, outputs, seeds):
        self.outputs, self.seeds, self.calls = outputs, seeds, []

    def __call__(self, prompt="", **settings):
        kind, made = self.outputs[len(self.calls) % len(self.outputs)]
        output = {"whole": made, "after": prompt + made, "wrapped": "<s> " + prompt + made + "</s>"}[kind]
        self.calls.append([settings["seed"], fnv(prompt)])
        if self.seeds:
            random.seed(settings["seed"] % 2**32)
        return output, 0, 0


def answer(source, odd):
    """What the model adds: sections of all kinds, or something odd."""
    if odd and source.random() < 0.5:
        return ("whole", source.choice(ODD))
    made = ", " + ", ".join(tags(source, 45)) if source.random() < 0.8 else ""
    for key in source.sample(["\ntag", "\nlong", "\nshort", "\nrating", "\nartist", "\nquality", "\ncharacters"], source.randint(0, 4)):
        made += f"{key}: " + (text(source, 11) if key in ("\nlong", "\nshort") else ", ".join(tags(source, 30)))
    return (source.choice(["after", "wrapped"]), made)


def sections(parsed):
    return [[key, value] for key, value in parsed.items()]


def run_case(source, number):
    """One request, upsampled; None where tipo-kgen itself fails on it."""
    give = source.choice(["tags", "text", "both", "both"])
    case = {
        "tags": ", ".join(tags(source, 12)) or "solo" if give != "text" else "",
        "text": (text(source, 4) or "A cat.") if give != "tags" else "",
        "expands_tags": source.random() < 0.75, "expands_text": source.random() < 0.75, "adds_text": source.random() < 0.5,
        "tags_first": source.random() < 0.5, "tag_length": source.choice(LENGTHS), "text_length": source.choice(LENGTHS),
        "tells_quality": source.random() < 0.8, "makes_meta": source.random() < 0.2, "seed": source.choice([1, 7, 2**31, 2**32 + 5, source.randint(1, 2**33)]),
        "aspect_ratio": source.choice([None, 1.0, 1.25, 0.6667, 1.75]), "bans": source.choice(BANS), "form": source.choice(FORMS),
        "max_retry": source.choice([0, 1, 3, 10]), "reseeds": source.random() < 0.6, "has_lists": source.random() < 0.8, "task": None,
    }
    if source.random() < 0.4:
        case["task"] = source.choice(sorted(tipo.OPERATION_LIST))
    formatter.tag_lists.clear()
    for name in ["copyrights", "meta", "artist", "characters"]:
        formatter.tag_lists[name] = set(LISTS[name]) if case["has_lists"] else set()
    formatter.tag_lists.update({"special": set(SPECIAL), "quality": set(POSSIBLE_QUALITY_TAGS), "rating": set(RATING_TAGS)})
    tag_map = formatter.seperate_tags(case["tags"].split(","))
    lengths = {"tag_length_target": case["tag_length"], "nl_length_target": case["text_length"], "add_quality": case["tells_quality"]}
    if case["task"]:
        meta, operations, general, prompt = tipo.tipo_single_request(tag_map, case["text"], operation=case["task"], **lengths)
    else:
        meta, operations, general, prompt = tipo.parse_tipo_request(
            tag_map, case["text"], expand_tags=case["expands_tags"], expand_prompt=case["expands_text"],
            generate_extra_nl_prompt=case["adds_text"], tag_first=case["tags_first"], **lengths)
    if case["aspect_ratio"]:
        meta["aspect_ratio"] = f"{case['aspect_ratio']:.1f}"
    if not operations:
        return None
    odd = number % 3 == 0
    model = Model([answer(source, odd) for _ in range(source.randint(1, 5))], case["reseeds"])
    tipo.generate = model
    tipo.BAN_TAGS = case["bans"]
    try:
        parsed, _ = tipo.tipo_runner(meta, operations, general, prompt, gen_meta=case["makes_meta"], seed=case["seed"], max_retry=case["max_retry"])
    except (IndexError, AttributeError):
        return None
    finally:
        tipo.BAN_TAGS = []
    return {**case, "answers": model.outputs, "calls": model.calls, "sections": sections(parsed), "prompt": formatter.apply_format(parsed, case["form"])}


def parse_case(output):
    parsed = tipo.parse_tipo_result(output)
    return {"output": output, "sections": sections(parsed), "prompts": [formatter.apply_format(parsed, form) for form in FORMS]}


def prompt_cases():
    modes = [None, "tag_to_long", "long_to_tag", "short_to_tag", "short_to_long", "tag_to_short_to_long", "short_to_tag_to_long",
             "short_to_long_to_tag", "tag_to_short", "tag_to_long_to_short"]
    for mode in modes:
        for expand in [True, False]:
            for general, nl in [("1girl, hat", ""), ("", "A cat. "), ("hat, bow ", " It is quiet."), ("", ""), (" ", " ")]:
                meta = {"meta": "highres", "rating": None, "artist": "", "quality": "masterpiece", "aspect_ratio": "1.3"}
                prompt = tipo.apply_tipo_prompt(meta, general, nl, mode, "short", expand, expand)
                yield {"mode": mode or "None", "expands": expand, "tags": general, "text": nl, "prompt": prompt}


def random_case(seed):
    random.seed(seed)
    items = list(range(40))
    random.shuffle(items)
    return {"seed": seed, "numbers": [random.randint(0, 2**32) for _ in range(8)], "items": items, "more": [random.randint(0, 9) for _ in range(700)][-5:]}


def main():
    source = random.Random(5)
    cases, number = [], 0
    while len(cases) < 280:
        # The choices come from a generator of their own, for tipo-kgen seeds the module's.
        case = run_case(source, number)
        number += 1
        if case:
            cases.append(case)
    formatter.tag_lists.update({name: set(LISTS[name]) for name in LISTS})
    golden = {
        "lists": LISTS, "forms": FORMS, "default_forms": list(TIPO_DEFAULT_FORMAT.values()), "runs": cases,
        "parses": [parse_case(output) for output in ODD], "prompts": list(prompt_cases()),
        "random": [random_case(seed) for seed in [0, 1, 7, 2**31, 2**32 - 1, 2**32, 2**32 + 5, 2**33 + 12345]],
    }
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    OUTPUT.write_text(json.dumps(golden, ensure_ascii=True, separators=(",", ":")) + "\n")
    print(f"{len(cases)} runs of {number}, {sum(len(case['calls']) for case in cases)} passes, {OUTPUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
