"""Makes Tests/CalderaTextTests/Fixtures/tokenizers: small tokenizers of several styles, and what the `tokenizers`
package gives for them on several thousand strings.

STYLE.json       a tokenizer of that style, trained on the strings themselves; captions.json was an embedded upsampler's
                 own and is only read
texts.json       the strings
ids.json         for each style: a checksum of the ids of each string, the ids of some, and checksums of decoded texts
variants.json    the same for a model with other steps around it, on fewer strings
tokenizer.model  a SentencePiece model
sentencepiece.json  its pieces, and what sentencepiece gives

A checksum is FNV-1a (32 bits) over the ids as little-endian 32-bit numbers, or over a text's UTF-8.

Training breaks ties as it likes, so tokenizers that are there already are read: delete them to train them anew.
"""

import io
import json
import random
import struct
import sys
from pathlib import Path

import sentencepiece
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

sys.path.insert(0, str(Path(__file__).resolve().parent / "support"))
from many_scripts import LINES, strings  # noqa: E402

FOLDER = Path(__file__).resolve().parents[2] / "Tests/CalderaTextTests/Fixtures/tokenizers"

LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
          r"|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace("{1,3}", "")
O200K = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
         r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
         r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
CL100K = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]"
          r"|\s+(?!\S)|\s+")

TIPO_TOKENS = ["empty", "very_short", "short", "long", "very_long", "tag_to_long", "long_to_tag", "short_to_tag",
               "short_to_long", "tag_to_short_to_long", "short_to_tag_to_long", "short_to_long_to_tag", "gen_meta"]


def fnv(data):
    value = 0x811C9DC5
    for byte in data:
        value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
    return value


def ids_sums(lists):
    """The checksums of lists of ids, as 8 digits each."""
    return "".join(f"{fnv(struct.pack(f'<{len(ids)}I', *ids)):08x}" for ids in lists)


def text_sums(texts):
    return "".join(f"{fnv(text.encode()):08x}" for text in texts)


def added(content, id, special=True, **flags):
    token = {"id": id, "content": content, "single_word": False, "lstrip": False, "rstrip": False,
             "normalized": False, "special": special}
    return {**token, **flags}


def template(*before):
    tokens = {name: {"id": name, "ids": [id], "tokens": [name]} for name, id in before}
    single = [{"SpecialToken": {"id": name, "type_id": 0}} for name, _ in before] + [{"Sequence": {"id": "A", "type_id": 0}}]
    pair = [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}]
    return {"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": tokens}


def file(model, tokens, normalizer=None, splitter=None, processor=None, decoder=None):
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": tokens, "normalizer": normalizer,
            "pre_tokenizer": splitter, "post_processor": processor, "decoder": decoder, "model": model}


def trained(texts, size, normalizer, splitter, alphabet=None):
    """The merges of a byte pair encoding of the texts, and its pieces without special tokens."""
    tokenizer = Tokenizer(models.BPE())
    if normalizer:
        tokenizer.normalizer = normalizer
    if splitter:
        tokenizer.pre_tokenizer = splitter
    limits = {} if alphabet else {"limit_alphabet": 500}
    tokenizer.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=size, show_progress=False, initial_alphabet=alphabet or [], **limits))
    model = json.loads(tokenizer.to_str())["model"]
    return list(model["vocab"]), model["merges"]


def bpe(vocab, merges, **settings):
    model = {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
             "fuse_unk": False, "byte_fallback": False, "ignore_merges": False}
    return {**model, **settings, "vocab": vocab, "merges": merges}


BYTE = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
LLAMA_DECODER = {"type": "Sequence", "decoders": [
    {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
    {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}


def llama_model(texts):
    pieces, merges = trained(texts, 1500, normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]),
                             pre_tokenizers.Split(Regex("▁+[^▁\n]*|\n"), "isolated"))
    names = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)]
    vocab = {piece: id for id, piece in enumerate(names + pieces)}
    return bpe(vocab, [" ".join(pair) for pair in merges], unk_token="<unk>", fuse_unk=True, byte_fallback=True)


def styles(texts):
    """The files by style."""
    model = llama_model(texts)
    specials = [added("<unk>", 0), added("<s>", 1), added("</s>", 2)]
    tipo = [added(f"<|{name}|>", len(model["vocab"]) + i) for i, name in enumerate(TIPO_TOKENS)]
    prepend = {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"},
                                                  {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]}
    yield "llama2", file(model, specials + tipo, normalizer=prepend, processor=template(("<s>", 1)), decoder=LLAMA_DECODER)
    metaspace = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False}
    legacy = {**model, "merges": [pair.split(" ") for pair in model["merges"]]}
    yield "llama_metaspace", file(legacy, specials + tipo, splitter=metaspace, processor=template(("<s>", 1)), decoder=LLAMA_DECODER)

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces, merges = trained(texts, 1600, None, pre_tokenizers.ByteLevel(add_prefix_space=False), alphabet)
    vocab = {piece: id for id, piece in enumerate(pieces + ["<|endoftext|>"])}
    yield "gpt2", file(bpe(vocab, [" ".join(pair) for pair in merges]), [added("<|endoftext|>", len(pieces))], splitter=BYTE,
                       processor=BYTE, decoder=BYTE)

    def cut(pattern):
        return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"),
                                        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])

    plain = {**BYTE, "use_regex": False}
    for name, pattern, settings in [("llama3", LLAMA3, {"ignore_merges": True}), ("qwen2", QWEN2, {})]:
        normalizer = {"type": "NFC"} if name == "qwen2" else None
        pieces, merges = trained(texts, 1600, normalizers.NFC() if normalizer else None, cut(pattern), alphabet)
        vocab = {piece: id for id, piece in enumerate(pieces)}
        if settings:  # Whole words that no merges lead to.
            for word in ["Ġmasterpiece", "Ġtwintails", "Ġhair", "æĹ¥æľ¬èªŀ"]:
                vocab.setdefault(word, len(vocab))
        split = {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}, plain]}
        start = len(vocab)
        tokens = [added("<|begin_of_text|>", start), added("<|end_of_text|>", start + 1)]
        processor = {"type": "Sequence", "processors": [plain, template(("<|begin_of_text|>", start))]} if settings else plain
        yield name, file(bpe(vocab, merges, **settings), tokens, normalizer=normalizer, splitter=split, processor=processor,
                         decoder=BYTE)

    # A vocabulary in which the end of a word is marked, and one in which its inside is.
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.decoder = decoders.BPEDecoder()
    few = {"vocab_size": 900, "special_tokens": ["<unk>"], "show_progress": False}
    tokenizer.train_from_iterator(LINES, trainers.BpeTrainer(end_of_word_suffix="</w>", **few))
    yield "word_ends", json.loads(tokenizer.to_str())
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", continuing_subword_prefix="##"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.train_from_iterator(LINES, trainers.BpeTrainer(continuing_subword_prefix="##", **few))
    yield "word_insides", json.loads(tokenizer.to_str())


def variants(files):
    """Other steps around the models: (name, style, what replaces members of the file)."""
    def replaced(name, style, **members):
        return {"name": name, "style": style, "members": members}

    def split(pattern, behaviour, invert=False):
        return {"type": "Split", "pattern": pattern, "behavior": behaviour, "invert": invert}

    def sequence(*steps):
        return {"type": "Sequence", "pretokenizers": list(steps)}

    for behaviour in ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"]:
        for invert in [False, True]:
            yield replaced(f"split at spaces, {behaviour}, {invert}", "llama2", normalizer=None,
                           pre_tokenizer=split({"String": " "}, behaviour, invert))
            yield replaced(f"split at letters, {behaviour}, {invert}", "llama2", normalizer=None,
                           pre_tokenizer=split({"Regex": r"\p{L}+|\d"}, behaviour, invert))
        yield replaced(f"punctuation, {behaviour}", "llama2", pre_tokenizer={"type": "Punctuation", "behavior": behaviour})
    for name, pattern in [
        ("o200k", O200K), ("possessive cl100k", CL100K), ("can be empty", r"\s*"), ("lazy", r"a.*?b|[a-f]{2,3}?"), ("lines", r"^.+$"),
        ("sets", r"[^\s\w]|[a-cx-z_\]\-]+"), ("words", r"\w+|\W"), ("ends", r"\A.|.\z"),
        ("cases", r"(?i)kelvin|[s-t]|[^a-z ]k"), ("atomic", r"(?>a|ab)c?|(?=x)\p{Ll}{2}|\p{^L}\P{N}"), ("code points", r"\x{4e00}|\u0301|\x41"),
        ("empty branches", r"(?:|x)(?:a|)|\s{,2}b"), ("counted", r"(?:ab){2,}|a{3}|!{2}+"),
    ]:
        yield replaced(f"pattern {name}", "llama2", normalizer=None, pre_tokenizer=split({"Regex": pattern}, "Isolated"))
    for scheme in ["always", "first", "never"]:
        for cuts in [True, False]:
            step = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": cuts}
            yield replaced(f"metaspace {scheme} {cuts}", "llama2", normalizer=None, pre_tokenizer=step, decoder=step)
    for name, step in [
        ("whitespace", {"type": "Whitespace"}), ("white space removed", {"type": "WhitespaceSplit"}),
        ("digits", {"type": "Digits", "individual_digits": False}), ("single digits", {"type": "Digits", "individual_digits": True}),
        ("commas", {"type": "CharDelimiterSplit", "delimiter": ","}),
        ("several", sequence({"type": "WhitespaceSplit"}, {"type": "Digits", "individual_digits": True},
                             {"type": "Punctuation", "behavior": "Isolated"}, {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": True})),
    ]:
        yield replaced(name, "llama2", normalizer=None, pre_tokenizer=step)
    for name, step in [
        ("nfc", {"type": "NFC"}), ("nfd", {"type": "NFD"}), ("nfkc", {"type": "NFKC"}), ("nfkd", {"type": "NFKD"}), ("lowercase", {"type": "Lowercase"}),
        ("strip", {"type": "Strip", "strip_left": True, "strip_right": True}), ("strip left", {"type": "Strip", "strip_left": True, "strip_right": False}),
        ("accents", {"type": "Sequence", "normalizers": [{"type": "NFD"}, {"type": "StripAccents"}, {"type": "Lowercase"}]}),
        ("squeezed", {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": "▁"}), ("replaced", {"type": "Replace", "pattern": {"String": "aa"}, "content": "b"}),
    ]:
        yield replaced(f"normalizer {name}", "llama2", normalizer=step)
    yield replaced("bytes as normalizer", "gpt2", normalizer={"type": "ByteLevel"}, pre_tokenizer=None)
    yield replaced("prefix space", "gpt2", pre_tokenizer={**BYTE, "add_prefix_space": True})
    llama = files["llama2"]
    marked = [added("<mask>", 0, special=False, lstrip=True), added("<Word>", 0, special=False, single_word=True, normalized=True),
              added("hair", 0, special=False, rstrip=True, normalized=True), added("solo", 0, special=False, single_word=True),
              added(", ", 0, special=True, rstrip=True), added("A cat", 0, special=False, normalized=True, lstrip=True, rstrip=True)]
    first = len(llama["model"]["vocab"])
    marked = [{**token, "id": first + i} for i, token in enumerate(marked)]
    for style in ["llama2", "llama_metaspace"]:
        yield replaced(f"added tokens on {style}", style, added_tokens=llama["added_tokens"][:3] + marked)
    yield replaced("lower case tokens", "llama2", normalizer={"type": "Lowercase"}, added_tokens=llama["added_tokens"][:3] + marked)
    alone = {piece: id for piece, id in llama["model"]["vocab"].items() if not (piece.startswith("<0x") and id % 3)}
    merges = llama["model"]["merges"]
    yield replaced("some bytes", "llama2", added_tokens=[], model=bpe(alone, merges, unk_token="<unk>", byte_fallback=True))
    yield replaced("unknown", "llama2", added_tokens=[], model=bpe(alone, merges, unk_token="<unk>"))
    yield replaced("fused unknown", "llama2", added_tokens=[], model=bpe(alone, merges, unk_token="<unk>", fuse_unk=True))
    yield replaced("left out", "llama2", added_tokens=[], model=bpe(alone, merges))
    yield replaced("word ends", "word_ends")
    yield replaced("word insides", "word_insides")
    yield replaced("no decoder", "llama2", decoder=None)
    yield replaced("several decoders", "llama2", decoder={"type": "Sequence", "decoders": [
        {"type": "Replace", "pattern": {"Regex": "▁+"}, "content": "·"}, {"type": "Strip", "content": "·", "start": 0, "stop": 1}, {"type": "Strip", "content": "·", "start": 2, "stop": 0},
        {"type": "ByteFallback"}]})


def results(tokenizer, texts, shown, seed):
    plain = [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]
    special = [tokenizer.encode(text).ids for text in texts]
    source = random.Random(seed)
    size = max(tokenizer.get_vocab().values()) + 3
    mixed = [[source.randrange(size) for _ in range(source.randint(1, 12))] for _ in range(150)]
    return {
        "vocabulary_size": max(tokenizer.get_vocab().values()) + 1,
        "ids": ids_sums(plain), "special": ids_sums(special),
        "shown": [ids for ids in special[:shown]],
        "decoded": text_sums(tokenizer.decode(ids, skip_special_tokens=True) for ids in special),
        "mixed": [{"ids": ids, "text": tokenizer.decode(ids, skip_special_tokens=skip)} for skip in [False, True] for ids in mixed[:75]],
    }


def write(name, value):
    path = FOLDER / name
    path.write_text(json.dumps(value, ensure_ascii=True, separators=(",", ":")) + "\n")
    print(f"{name}: {path.stat().st_size} bytes")


def sentence_pieces(texts):
    """A SentencePiece model like LLaMA's, trained small."""
    stream = io.BytesIO()
    usable = [line for text in LINES for line in text.split("\n") if line.strip() and "\0" not in line]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(usable), model_writer=stream, vocab_size=1400, model_type="bpe", byte_fallback=True,
        normalization_rule_name="identity", remove_extra_whitespaces=False, split_digits=True, minloglevel=2,
        character_coverage=0.98, user_defined_symbols=["<|long|>", "<|empty|>"], allow_whitespace_only_pieces=True)
    (FOLDER / "tokenizer.model").write_bytes(stream.getvalue())
    model = sentencepiece.SentencePieceProcessor(model_proto=stream.getvalue())
    count = model.get_piece_size()

    def kind(id):  # The types of GGUF's tokenizer.ggml.token_type.
        if model.is_unknown(id): return 2
        if model.is_control(id): return 3
        if model.is_unused(id): return 5
        if model.is_byte(id): return 6
        return 4 if model.id_to_piece(id) in ("<|long|>", "<|empty|>") else 1

    texts = [text for text in texts if "\0" not in text and not any(mark in text for mark in ["<s>", "</s>", "<unk>", "<|", "▁", "<0x"])]
    encoded = [model.encode(text) for text in texts]
    write("sentencepiece.json", {
        "tokens": [model.id_to_piece(id) for id in range(count)], "scores": [model.get_score(id) for id in range(count)],
        "types": [kind(id) for id in range(count)], "texts": texts, "ids": ids_sums(encoded),
        "decoded": text_sums(model.decode(ids) for ids in encoded), "shown": encoded[:20]})


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)
    texts = strings()
    if not (FOLDER / "word_insides.json").exists():
        marks = ["<|", "<s>", "</s>", "<unk>", "<mask>", "<Word>", "<0x"]
        usable = [text for text in LINES * 2 + texts[len(LINES):][::2] if not any(mark in text for mark in marks)]
        for name, content in styles(usable):
            write(f"{name}.json", content)
    names = ["llama2", "llama_metaspace", "gpt2", "llama3", "qwen2", "captions"]
    files = {name: json.loads((FOLDER / f"{name}.json").read_text()) for name in names + ["word_ends", "word_insides"]}
    write("texts.json", texts)
    write("ids.json", {name: results(Tokenizer.from_str(json.dumps(content)), texts, 60, 3) for name, content in files.items() if name in names})
    few = texts[: len(LINES)] + texts[len(LINES) + 9 :: 12]
    golden = []
    for variant in variants(files):
        tokenizer = Tokenizer.from_str(json.dumps({**files[variant["style"]], **variant["members"]}))
        result = results(tokenizer, few, 0, 5)
        members = json.dumps(variant["members"])  # As text, which reaches the reader as it stands.
        golden.append({**variant, "members": members, **result, "mixed": result["mixed"][::8], "special": None})
    write("variants.json", {"texts": few, "variants": golden})
    sentence_pieces(texts[::2])


if __name__ == "__main__":
    main()
