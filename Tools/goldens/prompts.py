"""Makes Tests/CalderaTextTests/Fixtures/prompts.json: how prompts are read. Attention, schedules and chunks of the web
UI's syntax come from support/webui.py; triggers and truncated texts of the plain one from diffusers and transformers.

    python Tools/goldens/prompts.py [MODEL_FOLDER]
"""

import json
import random
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
# Siblings of this script carry names of standard modules, which they must not hide.
sys.path = [str(HERE / "support")] + [path for path in sys.path if Path(path or ".").resolve() != HERE]

import transformers  # noqa: E402
from diffusers.loaders.textual_inversion import TextualInversionLoaderMixin  # noqa: E402

import webui  # noqa: E402

ROOT = HERE.parent.parent
MODEL = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "Sources/Caldera/Resources/EmbeddedModel"
OUTPUT = ROOT / "Tests/CalderaTextTests/Fixtures/prompts.json"

# The vectors that the web UI's own documentation strings list, which this script checks its reference against.
KNOWN_ATTENTION = {
    "normal text": [("normal text", 1.0)],
    "an (important) word": [("an ", 1.0), ("important", 1.1), (" word", 1.0)],
    "(unbalanced": [("unbalanced", 1.1)],
    "\\(literal\\]": [("(literal]", 1.0)],
    "(unnecessary)(parens)": [("unnecessaryparens", 1.1)],
    "a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).": [
        ("a ", 1.0), ("house", 1.5730000000000004), (" ", 1.1), ("on", 1.0), (" a ", 1.1), ("hill", 0.55),
        (", sun, ", 1.1), ("sky", 1.4641000000000006), (".", 1.1)],
}
ALTERNATING = ["a", "(b:1.1)"] * 5
KNOWN_SCHEDULES = {
    "test": [(10, "test")],
    "a [b:3]": [(3, "a "), (10, "a b")],
    "a [b: 3]": [(3, "a "), (10, "a b")],
    "a [[[b]]:2]": [(2, "a "), (10, "a [[b]]")],
    "[(a:2):3]": [(3, ""), (10, "(a:2)")],
    "a [b : c : 1] d": [(1, "a b  d"), (10, "a  c  d")],
    "a[b:[c:d:2]:1]e": [(1, "abe"), (2, "ace"), (10, "ade")],
    "a [unbalanced": [(10, "a [unbalanced")],
    "a [b:.5] c": [(5, "a  c"), (10, "a b c")],
    "((a][:b:c [d:3]": [(3, "((a][:b:c "), (10, "((a][:b:c d")],
    "[a|(b:1.1)]": list(enumerate(ALTERNATING, 1)),
    "[fe|]male": list(enumerate(["female", "male"] * 5, 1)),
    "[fe|||]male": list(enumerate((["female"] + ["male"] * 3) * 2 + ["female", "male"], 1)),
}
ATTENTION = [
    "", " ", "()", "[]", "(((())))", ")", "]", "((", "[[", "a)b]c", "(a", "[a", "(a [b", "[a (b", "a:1.3", "a:1.3)", "(a:1.3",
    "(a:)", "(a:b)", "(a:-1)", "(a:+2)", "(a:0)", "(a:.5)", "(a:5.)", "(a: 1.2 )", "(a :1.2)", "(a:1.2 3)", "(a:1e2)", "(a:٢.٥)",
    "(a:1.1)(b:1.1)", "((a:1.3) b:0.5)", "[a:1.3]", "[(a:1.3)]", "([a])", "[[a]]", "[[[a]]]", "(a) (b) [c]", "(a\nb:1.2)\nc",
    "\\", "\\a", "\\\\", "\\\\(a)", "a\\", "\\:", "(a\\:1.2)", "(a\\)b)", "\\[a\\]", "(\\(a\\):1.3)", "a\\(b(c)", "::", "(::)", "(a::1.2)",
    "BREAK", " BREAK ", "aBREAKb", "a BREAK b", "a\nBREAK\nb", "a,BREAK,b", "BREAK BREAK", "a BREAKS b", "_BREAK", "éBREAK", "a break b",
    "(a BREAK b)", "(a) BREAK (b)", "(BREAK:-1)", "a BREAK (b:1.2) BREAK c", "BREAK(a)", "(a)BREAK", "[a BREAK b:1.2)", "x (y:-1) BREAK z",
    "<lora:a:0.5> (b)", "a, (b:1.2), [c], {d}", "日本(猫:1.2)", "(😀:1.4) é", "a\x1cBREAK\x1fb", "((a))((b:2))", "(((a:0.9)b:0.8)c:0.7)",
    "masterpiece, (best quality:1.2), ((1girl)), [[lowres]], (solo:0.8)", "(a:1.05)(b:1.05)c", "(a:1)(b)", "1:2 (3:4) 5", ":1)", "(:1.2)",
]
SCHEDULES = [
    "a [{b|d{:.5] c", "", "[", "]", "a]b[c", "[a]", "[a:b]", "[a:b:]", "[a:b:c]", "[:3]", "[::3]", "[a::3]", "[:a:3]", "[a:3", "a:3]", "[a:0]", "[a:b:0]",
    "[a:b:10]", "[a:b:99]", "[a:b:-1]", "[a:b:+4]", "[a:b:0.0]", "[a:b:1.0]", "[a:b:0.05]", "[a:b:.99]", "[a:b:5.]", "[a:b:1e0]", "[a:b:1e-1]",
    "[a:b:2.5e-1]", "[a:b:1e400]", "[a:b: 3 ]", "[a:b:\n3\t]", "[a:b:3 4]", "[a:b:٣]", "[a:b:0x3]", "[a:b:c:3]", "[a:b:3][c:d:5]", "[a:b:3] [c:d:3]",
    "[[a:b:2]:c:5]", "[a:[b:c:7]:4]", "[a:[b:c:2]:4]", "[[a|b]:c:3]", "[a|[b:c:4]]", "[a|b|c]", "[a||b]", "[|a]", "[|]", "[a|b", "a|b", "(a|b)",
    "[(a|b):3]", "[a|b:3]", "[a:b|c]", "(a:[b:c:3])", "((a:1.2) [b:c:0.5]:1.1)", "[(a:1.2):(b:0.8):0.25]", "(a [b:c:3]", "[a (b:c:3]", "[a (b):c:3]",
    "\\[a:b:3\\]", "[a\\:b:3]", "[a\\]:b:3]", "[a:b:3\\]", "a\\", "[a:b:3]\\", "\\\n[a:b:3]", "[a\\|b]", "[a\\|b|c]", "[\\(:b:3]", "a [b:c:.5], (d:1.2), [e|f] g",
    "fantasy landscape with a [mountain:lake:0.25] and [an oak:a christmas tree:0.75][ in foreground::0.6][: in background:0.25] [shoddy:masterful:0.5]",
    "[cat:dog:0.5] BREAK [red|blue]", "[日:月:0.3]猫", "<lora:a:1> [b:c:2]", "[[[[a:b:1]:c:2]:d:3]:e:4]", "[a:b:3](c", "x [[a]] [b:2] [[c:d:3]]",
]
COMPOSITIONS = [
    "a cat", "a cat ", " a cat", "a cat :1.2", "a cat:1.2", "a cat: 1.2 ", "a cat:-1", "a cat:+.5", "a cat:1.", "a cat:.", "a cat:1.2.3", "a:1:2", "a:b", "", ":2",
    "(a:1.2)", "[a:b:0.5", "a\n:1.5\n", "a :1 2", "1girl: 2",
]
WORDS = ["a photo of", "red", "cat", "castle", "in the sky", "detailed", "sharp focus", "naïve", "猫", "oil painting", "1girl", "it's"]


def random_texts(source: random.Random, tokens: list[str], count: int, longest: int) -> list[str]:
    return ["".join(source.choice(tokens) for _ in range(source.randint(1, longest))) for _ in range(count)]


def chunk_texts(source: random.Random) -> list[str]:
    """Texts about the length at which a chunk is full, with commas at every distance from its end."""
    texts = ["", ",", "BREAK", "a BREAK", "BREAK a", "a BREAK BREAK b", "a BREAK (b:1.3) BREAK [c]", "word " * 75, "word " * 76, "," * 80]
    texts += ["x " * before + ", " + "y " * after for before in (50, 53, 54, 55, 56, 72, 73, 74, 75) for after in (0, 1, 20, 40)]
    texts += ["x " * 70 + "(" + "y, " * 20 + ":1.3) " + "z " * 60, "x, " * 120, "(x " * 30 + ")" * 30 + " y" * 90]
    texts += ["x " * 60 + ", " + "y " * 10 + "style-one " + "z " * 20, "x " * 73 + "style-one y", "style-one, " * 20, "x " * 74 + "<toy>"]
    texts += ["style-one-more style-one style -one (style-one:1.3) Style-ONE", "a<toy>b <TOY> (<toy>)", "x " * 60 + ", <toy> " + "z " * 20]
    for _ in range(12):
        words = [source.choice(WORDS) + source.choice(["", "", ",", ","]) for _ in range(source.randint(30, 110))]
        for index in range(0, len(words), 9):
            words[index] = source.choice(["({}:1.2)", "[{}]", "({})", "{} BREAK", "{}"]).format(words[index])
        texts.append(" ".join(words))
    return texts


def check_known() -> None:
    for text, runs in KNOWN_ATTENTION.items():
        if webui.attention(text) != runs:
            raise SystemExit(f"{text!r}: {webui.attention(text)} where {runs} is known")
    for text, entries in KNOWN_SCHEDULES.items():
        if webui.schedule(text, 10) != entries:
            raise SystemExit(f"{text!r}: {webui.schedule(text, 10)} where {entries} is known")


EMBEDDINGS = [
    webui.Embedding("<toy>", (49408,)),
    webui.Embedding("style-one", (49409, 49410, 49411)),
    webui.Embedding("style-one-more", (49412, 49413)),
    webui.Embedding("blorb", (49414, 49415)),
]
TRIGGER_TEXTS = [
    "a <toy> b", "a<toy>b", "<TOY>", "style-one", "a photo in style-one, with a <toy>", "a style-one-more b", "STYLE-ONE", "style-one_1",
    "a blorb", "a Blorb", "sblorbs blorb", "no trigger", "blorb blorb", "style-one " * 40,
]
LONG_TEXTS = [
    "a red circle above a blue square, " * 12, "word " * 75, "word " * 76, "naïve café 猫 " * 30, "it's (x:1.2) a-b! " * 12, "a<|endoftext|>b " * 30,
    "short",
]


def plain(tokenizer) -> dict:
    added = []
    for embedding in EMBEDDINGS:
        added += [embedding.trigger] + [f"{embedding.trigger}_{index}" for index in range(1, len(embedding.ids))]
    truncated = [{"text": text, "rest": truncated_text(tokenizer, text)} for text in LONG_TEXTS]
    tokenizer.add_tokens(added)
    # Where several triggers of several vectors are found, diffusers replaces them in the order of a set.
    convert = TextualInversionLoaderMixin()._maybe_convert_prompt
    triggers = []
    for text in TRIGGER_TEXTS:
        ids = tokenizer(convert(text, tokenizer), padding="max_length", max_length=77, truncation=True)["input_ids"]
        triggers.append({"text": text, "ids": ids})
    return {"truncated": truncated, "triggers": triggers}


def truncated_text(tokenizer, text: str) -> str | None:
    ids = tokenizer(text)["input_ids"]
    return tokenizer.batch_decode([ids[76:-1]])[0] if len(ids) > 77 else None


def chunks(name: str, texts: list[str], embeddings: list) -> list[dict]:
    chunker = webui.Chunker(open_tokenizer(name), embeddings)
    return [
        {"text": text, "chunks": [{"ids": ids, "weights": weights} for ids, weights in chunker.chunks(text)]}
        for text in texts
    ]


def open_tokenizer(name: str):
    return transformers.CLIPTokenizer.from_pretrained(MODEL / name)


def main() -> None:
    transformers.utils.logging.set_verbosity_error()
    check_known()
    source = random.Random(11)
    marks = list("ab ,") + ["(", ")", "[", "]", ":", ":1.3)", ": .5)", "\\", "BREAK", " BREAK ", "\n", "é"]
    attention = [*KNOWN_ATTENTION, *ATTENTION, *random_texts(source, marks, 120, 14)]
    marks = list("ab ") + ["[", "]", "(", ")", ":", "|", ":3]", ":.4]", ": 7 ]", "[x|y]", "[p:q:3]", "[w::5]", "\\", "(a:1.2)", "\n"]
    schedules = [*KNOWN_SCHEDULES, *SCHEDULES, *random_texts(source, marks, 120, 12)]
    texts = chunk_texts(source)
    golden = {
        "attention": [{"text": text, "runs": webui.attention(text)} for text in attention],
        "schedules": [
            {"text": text, "steps": steps, "entries": webui.schedule(text, steps)}
            for number, text in enumerate(schedules) for steps in ([10, 1, 7] if number % 8 == 0 else [10])
        ],
        "compositions": [[text, *webui.composition(text)] for text in COMPOSITIONS],
        "chunks": chunks("tokenizer", texts, EMBEDDINGS[:3]),
        "chunks_2": chunks("tokenizer_2", texts[::4], []),
        "plain": plain(open_tokenizer("tokenizer")),
        "embeddings": [{"trigger": embedding.trigger, "ids": embedding.ids} for embedding in EMBEDDINGS],
    }
    OUTPUT.write_text(json.dumps(golden, ensure_ascii=True, separators=(",", ":")) + "\n")
    print(f"{len(attention)} attention, {len(golden['schedules'])} schedules, {len(texts)} chunked; {OUTPUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
