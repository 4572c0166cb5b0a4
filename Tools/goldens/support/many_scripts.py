"""Several thousand strings in many scripts, for tokenizers."""

import random

LINES = [
    "1girl, solo, long hair, looking at viewer, blue eyes, smile", "masterpiece, best quality, very aesthetic, absurdres",
    "hatsune miku, twintails, aqua hair, detached sleeves, necktie, upper body, ^_^, :d, >_<, :o",
    "rating: safe\nartist: someone (somewhere)\ntarget: <|long|> <|tag_to_long|>\ntag: 1girl, solo\nlong:",
    "quality: masterpiece\naspect_ratio: 1.0\ntarget: <|short|> <|short_to_tag_to_long|>\nshort: A cat on a bench.\ntag: \nlong:",
    "A young woman with silver hair stands in a field of flowers while the sun sets behind the distant mountains.",
    "a red circle above a blue square, flat illustration, white background", "The dog's 42nd birthday; it's late, I'm sure they'll go.",
    "I'd've said THEY'LL, WE'RE, YOU'VE, I'M, DON'T, HE'D 'S 'T 'RE 'ſ", "def main(argv):\n\treturn [x ** 2 for x in range(10) if x % 3 != 0]\n",
    "for (int i = 0; i < n; ++i) {\n    sum += a[i] * b[i];  // dot\n}\n", "SELECT id, name FROM users WHERE age >= 18 AND name LIKE '%x%';",
    "https://example.com/a?b=c&d=e#f user@example.org C:\\Users\\x\\y.txt", "3.14159 1,000,000 1e-5 0x7f 12345678901234567890 007",
    "Привет, мир! Ёжик в тумане, съешь же ещё этих мягких французских булок.", "Київ, Україна: ґанок, їжак, є щось.", "Здраво, свете! Љубав и ђак.",
    "Γειά σου Κόσμε, ΟΔΟΣ Σας ΣΊΣΥΦΟΣ ᾼ ᾈ ΐ", "日本語のテキスト、漢字とかなと「カタカナ」。長い髪の女の子が微笑んでいる。", "中文提示词，高质量，一个女孩站在花田里。繁體中文測試。",
    "한국어 텍스트 입력: 꽃밭에 서 있는 소녀.", "مرحبا بالعالم، السَّلَامُ عَلَيْكُمْ ١٢٣", "שלום עולם שָׁלוֹם לכולם", "नमस्ते दुनिया, क्षत्रिय हिन्दी भाषा १२३",
    "বাংলা ভাষা তামিল தமிழ் తెలుగు ಕನ್ನಡ മലയാളം", "สวัสดีชาวโลก ภาษาไทยไม่มีวรรค ๑๒๓", "ᬅᬓ᭄ᬱᬭ ភាសាខ្មែរ မြန်မာ ລາວ", "ქართული Հայերեն ኣማርኛ ᏣᎳᎩ ᠮᠣᠩᠭᠣᠯ བོད་ཡིག",
    "naïve café, Ångström, œuvre, straße, İstanbul, ŁÓDŹ, ñandú, Việt Nam đẹp", "e\u0301 a\u0300\u0301\u0302 o\u0308 q\u0307\u0323 \u0344 \u0958 \u2126 \u212b \u1e9b\u0323",
    "😀 😃😄 🐈\u200d⬛ 👨\u200d👩\u200d👧\u200d👦 👩🏽\u200d🚀 🏳️\u200d🌈 🇩🇪🇫🇷 ❤️ ☺︎ 1️⃣", "𝒜𝓑𝔠𝕯 𝟘𝟙𝟚 𐐀𐐨 𠀀𠀁 𝄞 🜁 \U0001fae8", "ﬁ ﬂ ﬀ ㎏ ㏑ ① Ⅷ ½ ² ³ ¼ ⅓ Ａｂｃ１２３ ｶﾞ",
    "a\tb\nc\rd\x0be\x0cf\x1cg\x1dh\x1ei\x1fj\x85k\u2028l\u2029m", "nul\x00in \x01\x02\x03\x7f\x80\x9f \ufffe \uffff \ufffd \ufeffx", "nbsp\u00a0here thin\u2009 ideo\u3000graphic \u1680 \u180e \u200b\u200c\u200d\u2060 \u00adsoft",
    "    four spaces\n\n\n  two\n \n\t\ttabs\t \r\n\r\n  end   ", "word  word   word    word     word", "\n\n\n\n\n", "\t\t\t", "          ", " ", "", "  a", "a  ", "\na\n",
    "!!! ?!?! -- --- *** ((())) [[x]] {y} <z> @#$%^&* ~` | \\ /", "don’t it’s “quoted” ‘single’ … – — © ® ™ § ¶ † € £ ¥ ₿ ∑ √ ∞ ≠ ← →",
    "snake_case __init__ a_b _ ___ kebab-case CamelCase mixedCASE ALLCAPS", "▁ ▁▁ a▁b ▁start <0x0A> <0x41> <s> </s> <unk> <|empty|> <|endoftext|>", "Ġhello Ċ ł Ń </w> a</w> ##ing",
    "<|tag_to_long|><|long|> <|short|>\n<|gen_meta|>  <|very_long|>x<|empty|>", "<s>text</s> <s> text </s>\n<s></s>", "x<mask>y <mask> , <mask>.  <mask>  <Word>word <Word> a<Word> <Word>_",
    "ꙮ ᚠᚢᚦ ߒߞߏ ⓐⓑⓒ 🅰🅱 ꮳꮃꭹ \U00011950 \u1c80", "\ue000 \uf8ff \U000f0000 \U0010fffd", "\ua7f2\U00010781\u32ff \U00011938 \U00011935\U00011930 \u0c5c \u088f \U00011de1 \u2b96 \u1acf",
    "\u061d \u1cf2\u1cf3 \u166d \U000111c9 \u08e3 \u0898a \u0897", "اردو میں لکھا ہوا متن، پنجابی ਪੰਜਾਬੀ ગુજરાતી සිංහල", "\u0e40\u0e01\u0e32\u0e30 \u0eab\u0ea5\u0ea7\u0e87 ไทยeng混ぜ",
    "ſs ss ß ẞ K k K ΣσςΣ", "aaaaaaaaaaaaaaaaaaaaaaaa abababababababab zzzzzzzzzzzzzzzz 1111111111 !!!!!!!!!!",
]

ALPHABETS = [
    list("abcdefghijklmnopqrstuvwxyz") * 2 + list("ABCXYZ0123456789 ,.'\"_-\n\t"), list("абвгдежзийклмнопрстуфхцчшщъыьэюяЁ ,."),
    list("日本語漢字一人大小中国学生女子の花はがをにで、。 "), list("अआइकखगघचजटडतदनपबमयरलवशसह") + ["ा", "ि", "ी", "ु", "े", "्", "ं", " "],
    list("กขคงจชซญดตทนบปพมยรลวสหอะาเแโ") + ["ิ", "ี", "ุ", "่", "้", " "], list("ابتثجحخدذرزسشصضطعغفقكلمنهوي") + ["َ", "ِ", "ّ", " ", "،"],
    ["😀", "❤", "\ufe0f", "\u200d", "👩", "🏽", "🚀", "🇩", "🇪", "1", "\u20e3", " ", "a"], ["\u0301", "\u0308", "e", "a", "o", "\u0323", "é", "Å", "\u212b", "\u0327", " "],
    [" ", " ", " ", "\n", "\t", "\r", "\u3000", "\u00a0", "x", "1", ".", "'"], list("(){}[]<>;:=+-*/%&|^!~?#@$\\`\"'_ 0a\n"),
    ["'s", "'S", "'t", "'LL", "'ve", "’s", "it", " ", "'", "I", "9", "'ſ"], ["<s>", "</s>", "<unk>", "<|long|>", "<|empty|>", "<mask>", "<Word>", " ", "  ", "a", ",", "\n", "▁", "é"],
]


def strings():
    source = random.Random(11)
    texts = list(LINES)
    texts += ["word " * 300, "x" * 800, "猫" * 300, " " * 500, "\n" * 200, "ab" * 300, "1" * 301, "!" * 130, "é" * 120]
    words = [word for line in LINES for word in line.split(" ")]
    for _ in range(1100):  # Words of every kind beside each other.
        texts.append(" ".join(source.choice(words) for _ in range(source.randint(1, 9))))
    for alphabet in ALPHABETS:  # Letters of one script.
        for _ in range(110):
            texts.append("".join(source.choice(alphabet) for _ in range(source.randint(1, 28))))
    for _ in range(350):  # Letters of all scripts.
        texts.append("".join(source.choice(source.choice(ALPHABETS)) for _ in range(source.randint(1, 24))))
    for _ in range(350):  # Any scalars.
        picks = []
        for _ in range(source.randint(1, 14)):
            value = source.randint(0, source.choice([0x80, 0x250, 0x3000, 0xD7FF, 0x1FFFF, 0x10FFFF]))
            picks.append(chr(value if not 0xD800 <= value <= 0xDFFF else 0x41))
        texts.append("".join(picks))
    return texts
