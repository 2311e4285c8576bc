"""A line is cut where the training taught the model no more, and comes back as one line with its white space."""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtx.checkpoint.model_folder import GenerationDefaults, TrainedModel
from mtx.config.settings import TokenizerSettings
from mtx.decode.lines import Candidate, Segment, Segmenter, join_segments
from mtx.demo.corpus import read_demo
from mtx.text.sentences import split_sentences
from mtx.text.train_tokenizer import train_tokenizer

THREE = "The dog sees. A cat hears. The man."
Make = Callable[..., Segmenter]


@pytest.fixture(scope="module")
def make_segmenter(trained: TrainedModel) -> Make:
    """A segmenter for a model whose training sources had these numbers of sentences."""

    def make_segmenter(counts: tuple[int, ...] = (), max_source_tokens: int = 1000, **options: object) -> Segmenter:
        generation = GenerationDefaults(
            decode=trained.generation.decode, max_source_tokens=max_source_tokens, sentences_per_source=counts
        )
        return Segmenter(replace(trained, generation=generation), generation.decode.with_options(**options))

    return make_segmenter


def texts(segmenter: Segmenter, line: str = THREE) -> list[str]:
    return [segment.text.strip() for segment in segmenter.segments([line])]


@pytest.mark.parametrize(
    ("counts", "num_segments"),
    [((), 3), ((100,), 3), ((96, 4), 3), ((95, 5), 2), ((95, 0, 5), 1), ((80, 16, 4), 2), ((0, 0, 0, 5), 1)],
)
def test_auto_leaves_together_what_a_twentieth_of_the_training_sources_had(
    make_segmenter: Make, counts: tuple[int, ...], num_segments: int
) -> None:
    assert len(texts(make_segmenter(counts))) == num_segments
    assert len(texts(make_segmenter(counts, split="always"))) == 3
    assert texts(make_segmenter(counts, split="never")) == [THREE]


def test_the_demo_teaches_two_sentences(make_segmenter: Make) -> None:
    """Its pronouns refer to words of the sentence before."""
    counts = Counter(len(split_sentences(src, "en")) for src, _ in islice(read_demo("train"), 2000))
    segmenter = make_segmenter((counts[1], counts[2], counts[3]))
    line = "He sees the dog. It is tired."
    assert texts(segmenter, line) == [line]


def test_groups_that_are_too_long_are_cut_at_their_sentences(make_segmenter: Make) -> None:
    limit = max(len(segment.ids) for segment in make_segmenter(split="always").segments([THREE]))
    taught_two = (50, 50)
    for options in ({}, {"splits_long": False}):
        segmenter = make_segmenter(taught_two, limit + 1, **options)
        assert texts(segmenter) == ["The dog sees.", "A cat hears.", "The man."]
        assert not any(segment.num_left_out for segment in segmenter.segments([THREE]))
    assert texts(make_segmenter(taught_two, 2 * limit + 1)) == ["The dog sees. A cat hears.", "The man."]
    (cut,) = make_segmenter(taught_two, limit + 1, splits_long=False, split="never").segments([THREE])
    assert (len(cut.ids), cut.num_left_out > 0) == (limit, True)


def test_white_space_is_cut_off_and_a_line_without_text_has_no_segment(make_segmenter: Make) -> None:
    segmenter = make_segmenter()
    spaced, plain = segmenter.segments(["", " \t", "  The dog \u3000"]), segmenter.segments(["The dog"])
    assert [(segment.line, segment.text, segment.ids) for segment in spaced] == [(2, "  The dog \u3000", plain[0].ids)]


def test_a_segment_of_which_folding_leaves_nothing_is_copied_or_left_out(make_segmenter: Make) -> None:
    lines = ["\u00ad", "The dog"]
    assert [segment.line for segment in make_segmenter(copy_unlettered=False).segments(lines)] == [1]
    assert [segment.line for segment in make_segmenter().segments(lines)] == [0, 1]


def test_a_tag_takes_the_place_of_a_token_and_no_model_sees_outer_spaces(
    trained: TrainedModel, sentences: list[str]
) -> None:
    settings = TokenizerSettings(vocab_size=330, normalization="lossless")
    tokenizer = train_tokenizer(sentences, sentences, settings, print, ["de"])
    generation = GenerationDefaults(decode=trained.generation.decode, max_source_tokens=6)
    options = generation.decode.with_options(tag="de", split="never", splits_long=False)
    segmenter = Segmenter(replace(trained, tokenizer=tokenizer, generation=generation), options)
    plain, spaced = segmenter.segments([THREE, f"  {THREE}\u3000"])
    (ids,) = tokenizer.encode_src([THREE])
    assert plain.ids == spaced.ids == [tokenizer.tag_id("de"), *ids[:4]]
    assert plain.num_left_out == len(ids) - 4


@given(st.lists(st.text(alphabet="aB. \t!", max_size=30), max_size=5), st.sampled_from(["auto", "always", "never"]))
def test_segments_are_the_lines(make_segmenter: Make, lines: list[str], split: str) -> None:
    segments = make_segmenter((50, 50), 12, split=split).segments(lines)
    assert [segment.line for segment in segments] == sorted(segment.line for segment in segments)
    for index, line in enumerate(lines):
        assert "".join(s.text for s in segments if s.line == index) == (line if line.strip() else "")


def test_the_nth_best_of_a_line_is_made_of_the_nth_best_of_its_segments() -> None:
    parts = [
        (Segment(0, "  A.\t", [5]), [Candidate("a1", -1.0), Candidate("a2", -2.0)], 3),
        (Segment(0, "B. ", [6], num_left_out=2), [Candidate("b1", -2.0)], 4),
    ]
    line = join_segments("  A.\tB. ", parts, "de")
    assert line.nbest == (Candidate("  a1\tb1 ", -1.5), Candidate("  a2\tb1 ", -2.0))
    assert (line.src, line.num_tokens, line.num_left_out) == ("  A.\tB. ", 7, 2)
    assert [(part.src, part.tgt, part.score) for part in line.sentences] == [("A.", "a1", -1.0), ("B.", "b1", -2.0)]
    assert join_segments(" \t\u2028", [], "de").tgt == " \t "
    assert join_segments("\u00ad", [], "de").tgt == ""


def test_models_from_before_sentences_were_counted_split_all(trained: TrainedModel) -> None:
    content = json.loads(trained.generation.model_dump_json())
    del content["sentences_per_source"]
    assert GenerationDefaults.model_validate_json(json.dumps(content)).max_sentences == 1
