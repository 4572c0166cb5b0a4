"""Makes Tests/CalderaTextTests/Fixtures/clip_tokenizer.json: what transformers' CLIPTokenizer gives for hard strings.

Run from anywhere with a Python that has transformers (5.23): python Tools/goldens/tokenizer.py [MODEL_FOLDER]
"""

import json
import random
import sys
import tempfile
import shutil
from pathlib import Path

from transformers import CLIPTokenizer

ROOT = Path(__file__).resolve().parents[2]
MODEL = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "Sources/Caldera/Resources/EmbeddedModel"
OUTPUT = ROOT / "Tests/CalderaTextTests/Fixtures/clip_tokenizer.json"

PLAIN = """
a photo of a cat
A  Photo of\\na CAT!!
hello world 2023
masterpiece, best quality, 1girl
it's the dog's 42nd
naïve café — 猫 🐈
&amp;lt; <|endoftext|> x
(word:1.3)
a red circle above a blue square
I'd've said they'll, we're, you've, I'm, don't, he'd
IT'S THE DOG'S; I'M WE'LL THEY'RE
''s 'sun 'll'll 'x '' ' '''t 's's
snake_case __init__ a_b _ ___
... !!! ?!?! -- --- *** ((())) [[x]] {y} <z> @#$%^&* ~` | \\\\ /
!"#$%&'()*+,-./:;<=>?@[\\\\]^_`{|}~
0123456789 3.14159 1,000,000 1e-5 0x7f
١٢٣ ۴۵۶ १२३ ๑๒๓
½ ¼ ¾ ⅓ ² ³ ¹ ⁴ ₅ ① ⑳ Ⅷ ⅷ ↀ 〇 一二三
café café naïve naïve Åé̂ ﬁ ﬂ
e̊́ ạ̈ ạ̈ q̇ ǘ a\u0300\u0301\u0302\u0303
Å Å Å Ω Ω K K
가각힣 가 각
日本語のテキスト、漢字とかな。
中文提示词，高质量
한국어 텍스트 입력
مرحبا بالعالم السَّلَامُ عَلَيْكُمْ
שלום עולם שָׁלוֹם
สวัสดีชาวโลก ภาษาไทยไม่มีวรรค
नमस्ते दुनिया क्षत्रिय हिन्दी
বাংলা தமிழ் తెలుగు ಕನ್ನಡ മലയാളം
ქართული ᲥᲐᲠᲗᲣᲚᲘ Հայերեն
Привет, Мир! ЁЖИК ёжик й й
Γειά σου Κόσμε ΟΔΟΣ Σας ΣΊΣΥΦΟΣ ᾼ ᾈ ΐ
İstanbul Iğdır ISPARTA ı I i̇ diyarbakır
STRASSE Straße ẞ ß ſ ﬀ
Ǆ ǅ ǆ Ǉ ǈ Ǌ ǋ
😀 😃😄 🐈‍⬛ 👨‍👩‍👧‍👦 👩🏽‍🚀 🏳️‍🌈 🇩🇪🇫🇷 ❤️ ☺︎ ☺️ 1️⃣ #️⃣
😀😀😀😀😀 cat😀dog 猫cat犬 a1b2c3
𝒜𝓑𝔠𝕯 𝟘𝟙𝟚 𐐀𐐨 𠀀𠀁 𝄞 𐍈 🜁
\ue000 \uf8ff \U000f0000 \U0010fffd
\ufffe \uffff \ufffd \ufeff x\ufeffy
a\u200bb a\u200cb a\u200db a\u2060b \u00adsoft\u00adhyphen
\u202ertl\u202c \u2066x\u2069
nbsp\u00a0here thin\u2009space ideo\u3000graphic line\u2028sep para\u2029sep nel\u0085x ogham\u1680x mvs\u180ex
\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u200a\u202f\u205f
a\tb\nc\rd\x0be\x0cf\x1cg\x1dh\x1ei\x1fj
nul\x00inside \x01\x02\x03\x7f\x80\x9f
don’t it’s “quoted” ‘single’ … – —
© ® ™ § ¶ † ‡ • ª º µ × ÷ ± ¬ ° ¿ ¡
€ £ ¥ ₿ ₹ ∑ ∏ √ ∞ ≠ ≤ ← ↑ → ⇒ ∀ ∃
ゔ ゔ が が パ パ ｶﾞ Ａｂｃ１２３
豈 更 車 﨑 凞
<|startoftext|>
<|endoftext|>
a<|startoftext|>b<|endoftext|>c
<|STARTOFTEXT|> <|EndOfText|>
!<|endoftext|>!
<|endoftext|><|endoftext|><|startoftext|>
<|endoftext |> < |endoftext|> <|endoftext|
<|startoftext|>!!! ...<|endoftext|>
'<|endoftext|>'s
<start_of_text> <end_of_text>
</w> a</w> </w></w>
Ġhello Ċ ł Ń
https://example.com/a?b=c&d=e#f user@example.org C:\\\\Users\\\\x
<lora:name:0.8> (a:1.2) [b|c] {d|e} AND BREAK
supercalifragilisticexpialidocious pneumonoultramicroscopicsilicovolcanoconiosis
aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
abababababababababababababababab zzzzzzzzzzzzzzz
Zalgo h̷e̵l̶l̷o̸ Z̴̡̛̮a̵̧͝l̸̰̽g̷̻̏o̶͇͗
ʻokina ʼapos modifier ˈstress ː ʰʲ
ᴀʙᴄ ⓐⓑⓒ ⒶⒷ 🅰🅱 ㈠ ㎏ ㏑
ꙮ ᚠᚢᚦ ᠮᠣᠩᠭᠣᠯ ཨོཾ ተረት ᏣᎳᎩ ꮳꮃꭹ ߒߞߏ
͏ ̀lone combining
\u0344 \u0958 \u2126 \u212a \u212b \u1e9b\u0323 \u2adc \ufb1d \U0001d15e
"""


def unescape(line):
    out, i = [], 0
    while i < len(line):
        c = line[i]
        if c != "\\" or i + 1 == len(line):
            out.append(c)
            i += 1
            continue
        kind = line[i + 1]
        length = {"x": 2, "u": 4, "U": 8}.get(kind)
        if length:
            out.append(chr(int(line[i + 2 : i + 2 + length], 16)))
            i += 2 + length
        else:
            out.append({"n": "\n", "t": "\t", "r": "\r", "\\": "\\"}[kind])
            i += 2
    return "".join(out)


def strings():
    texts = [unescape(line) for line in PLAIN.strip("\n").split("\n")]
    texts += ["", " ", "   \n\t  ", "\n", "\x00", "x", "!", "é", " leading", "trailing ", "\ta\t"]
    texts += ["word " * 2000, "x" * 10000, "ab" * 5000, "é" * 3000, "1" * 500, "!" * 300, "猫" * 200, "'s" * 100]
    # A seeded mixture: every kind of character beside every other.
    source = random.Random(7)
    alphabet = list("abcXYZ019_'\"!?.,- \n\t") + list("éÉßİıΣσςЖя猫かカ한ةשงक😀½²Ⅷ")
    alphabet += ["\u0301", "\u200d", "\ufe0f", "\u00a0", "\u3000", "'s", "'LL", "<|endoftext|>", "𝒜", "🇩🇪", "\x00", "\u1c80"]
    for _ in range(160):
        texts.append("".join(source.choice(alphabet) for _ in range(source.randint(1, 40))))
    # Random scalars of the first three planes.
    for _ in range(90):
        picks = []
        for _ in range(source.randint(1, 24)):
            limit = source.choice([0x250, 0x3000, 0xD7FF, 0x1FFFF, 0x3FFFF])
            value = source.randint(0, limit)
            picks.append(chr(value if not 0xD800 <= value <= 0xDFFF else 0x41))
        texts.append("".join(picks))
    return texts


def variant(folder, name, config, special, added=None):
    """A tokenizer folder with the same vocabulary and other settings."""
    target = Path(folder) / name
    target.mkdir()
    for file in ["vocab.json", "merges.txt"]:
        shutil.copy(MODEL / "tokenizer" / file, target / file)
    for file, content in [
        ("tokenizer_config.json", config),
        ("special_tokens_map.json", special),
        ("added_tokens.json", added),
    ]:
        if content is not None:
            (target / file).write_text(json.dumps(content))
    return target


SETTINGS = [
    ("no settings at all", None, None, None),
    ("strings in the map", {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "pad_token": "<|endoftext|>"},
     {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>", "pad_token": "!"}, None),
    ("objects in the map", {"tokenizer_class": "CLIPTokenizer", "model_max_length": 16},
     {"bos_token": {"content": "<|startoftext|>", "lstrip": False, "normalized": True, "rstrip": False, "single_word": False},
      "eos_token": {"content": "<|endoftext|>", "lstrip": False, "normalized": True, "rstrip": False, "single_word": False},
      "unk_token": {"content": "<|endoftext|>", "lstrip": False, "normalized": True, "rstrip": False, "single_word": False},
      "pad_token": "!"}, None),
    ("a learned token", {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77},
     {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>", "pad_token": "<|endoftext|>"},
     {"<Cat-Toy>": 49408}),
]
SETTING_TEXTS = ["a cat!", "!!", "<|endoftext|>", "<|EndOfText|>!! x", "!!<|STARTOFTEXT|>??", "a <Cat-Toy> b", "a <cat-toy>b",
                 "x|><|Endoftext|>|><|endoftext|>", "one two three four five six seven eight nine ten eleven twelve"]


def padded(tokenizer, text):
    return tokenizer(text, padding="max_length", truncation=True, max_length=tokenizer.model_max_length)["input_ids"]


def main():
    first = CLIPTokenizer.from_pretrained(MODEL / "tokenizer")
    second = CLIPTokenizer.from_pretrained(MODEL / "tokenizer_2")
    golden = {"plain": [], "padded": [], "settings": []}
    for text in strings():
        golden["plain"].append({
            "text": text,
            "tokenizer": first(text, add_special_tokens=False)["input_ids"],
            "tokenizer_2": second(text, add_special_tokens=False)["input_ids"],
        })
    for text in ["", "a red circle above a blue square", "a cat!", "word " * 75, "word " * 74, "word " * 76, "x" * 10000,
                 "a <|endoftext|> b", "<|startoftext|>"]:
        golden["padded"].append({"text": text, "tokenizer": padded(first, text), "tokenizer_2": padded(second, text)})
    with tempfile.TemporaryDirectory() as folder:
        for i, (name, config, special, added) in enumerate(SETTINGS):
            tokenizer = CLIPTokenizer.from_pretrained(variant(folder, str(i), config, special, added))
            length = tokenizer.model_max_length if tokenizer.model_max_length < 1e6 else 77
            golden["settings"].append({
                "name": name,
                "files": {"tokenizer_config.json": config, "special_tokens_map.json": special, "added_tokens.json": added},
                "cases": [{
                    "text": text,
                    "ids": tokenizer(text, add_special_tokens=False)["input_ids"],
                    "padded": tokenizer(text, padding="max_length", truncation=True, max_length=length)["input_ids"],
                } for text in SETTING_TEXTS],
            })
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    OUTPUT.write_text(json.dumps(golden, ensure_ascii=True, separators=(",", ":")) + "\n")
    print(f"{len(golden['plain'])} strings, {OUTPUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
