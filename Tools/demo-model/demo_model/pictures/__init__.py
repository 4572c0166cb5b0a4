"""Captioned pictures: the grammar's sentences and their renderer."""

from .grammar import Sentence, held_out_sentences, sentence
from .render import Picture, render, sample

__all__ = ["Picture", "Sentence", "held_out_sentences", "render", "sample", "sentence"]
