"""Captioned pictures: the grammar's sentences and their renderer."""

from .grammar import MOSTLY_OBJECTS, Sentence, held_out_sentences, sentence
from .render import Picture, render, sample

__all__ = ["MOSTLY_OBJECTS", "Picture", "Sentence", "held_out_sentences", "render", "sample", "sentence"]
