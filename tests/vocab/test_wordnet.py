"""The packaged nouns against WordNet's own files, NLTK's reader and WordNet's published figures."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.vocab.wordnet import (
    N_NOUN_SYNSETS,
    load_wordnet,
    parse_exceptions,
    parse_sense_counts,
    wordnet_from_table,
)

if TYPE_CHECKING:
    from mlimages_dataset.vocab.wordnet import WordNet

DEBIAN = Path("/usr/share/wordnet")


@pytest.fixture(scope="module")
def wordnet_folder() -> Path:
    """Return the folder of Debian's WordNet 3.0."""
    if not (DEBIAN / "data.noun").is_file():
        pytest.skip(f"WordNet's own files are not in {DEBIAN}: install Debian's wordnet-base")
    return DEBIAN


@pytest.fixture
def wordnet_copy(wordnet_folder: Path, tmp_path: Path) -> Path:
    """Return a folder of one's own with links to WordNet's files, to damage one of them."""
    for file in wordnet_folder.iterdir():
        if file.is_file():
            (tmp_path / file.name).symlink_to(file)
    return tmp_path


@pytest.fixture(scope="module")
def lemmas(wordnet: WordNet) -> list[str]:
    """Return every lemma."""
    return sorted(wordnet.senses)


def data_lines(folder: Path) -> dict[str, list[str]]:
    """Return the fields of each line of `data.noun` before the gloss, by wnid (wndb(5WN))."""
    lines = (folder / "data.noun").read_text("utf-8").splitlines()
    return {f"n{line[:8]}": line.partition("|")[0].split() for line in lines if not line.startswith("  ")}


def test_counts_are_those_that_wordnet_publishes(wordnet: WordNet) -> None:
    # wnstats(7WN): nouns have 117,798 unique strings, 82,115 synsets and 146,312 word-sense pairs.
    assert len(wordnet) == N_NOUN_SYNSETS == 82_115
    assert sum(map(len, wordnet.senses.values())) == 146_312
    assert len(wordnet.senses) == 117_798


def test_wnids_ascend_and_every_edge_leads_to_a_synset(wordnet: WordNet) -> None:
    assert list(wordnet.wnids) == sorted(set(wordnet.wnids))
    assert all(0 <= p < len(wordnet) for s in range(len(wordnet)) for p in wordnet.parents(s))
    assert [wordnet.wnids[s] for s in range(len(wordnet)) if not wordnet.parents(s)] == ["n00001740"]


def test_edges_and_their_order_are_those_of_the_file(wordnet: WordNet, wordnet_folder: Path) -> None:
    for wnid, fields in data_lines(wordnet_folder).items():
        synset = wordnet.index_of_wnid[wnid]
        for symbol, edges in (("@", wordnet.hypernyms), ("@i", wordnet.instance_hypernyms)):
            in_file = [f"n{at}" for kind, at in itertools.pairwise(fields) if kind == symbol]
            assert [wordnet.wnids[p] for p in edges[synset]] == in_file


def test_senses_are_ordered_as_in_the_index(wordnet: WordNet, wordnet_folder: Path) -> None:
    lines = (wordnet_folder / "index.noun").read_text("utf-8").splitlines()
    in_index = {}
    for line in lines:
        if not line.startswith("  "):
            lemma, _, n_senses, *rest = line.split()
            in_index[lemma.replace("_", " ")] = [f"n{at}" for at in rest[-int(n_senses) :]]
    assert {name: [wordnet.wnids[s] for s in synsets] for name, synsets in wordnet.senses.items()} == in_index


@pytest.mark.slow
def test_packaged_nouns_are_what_nltk_reads_from_wordnets_files(wordnet: WordNet, wordnet_folder: Path) -> None:
    assert load_wordnet(wordnet_folder) == wordnet


@pytest.mark.parametrize(
    ("phrase", "bases"),
    [
        ("dog", ("dog",)),
        ("Dogs", ("dog",)),
        ("mice", ("mouse",)),
        ("leaves", ("leaf", "leave")),
        ("traffic lights", ("traffic light",)),
        ("glasses", ("glasses", "glass")),
        ("qwertyuiop", ()),
    ],
)
def test_base_forms(wordnet: WordNet, phrase: str, bases: tuple[str, ...]) -> None:
    found = wordnet.base_forms(phrase)
    assert set(found) >= set(bases)
    assert bool(found) == bool(bases)


@given(number=st.integers(0, 117_797))
def test_every_lemma_is_its_own_base_form(lemmas: list[str], wordnet: WordNet, number: int) -> None:
    assert wordnet.base_forms(lemmas[number])[0] == lemmas[number]


def test_a_word_with_several_senses_lists_the_first_first(mini_wordnet: WordNet) -> None:
    crane = [mini_wordnet.wnids[s] for s in mini_wordnet.senses["crane"]]
    assert crane == ["n10914447", "n03126707", "n02012849"]


def test_parents_are_hypernyms_and_instance_hypernyms(mini_wordnet: WordNet) -> None:
    def parents(wnid: str) -> list[str]:
        return [mini_wordnet.wnids[p] for p in mini_wordnet.parents(mini_wordnet.index_of_wnid[wnid])]

    assert parents("n02084071") == ["n02083346", "n01317541"]
    assert parents("n09333171") == ["n09328904"]


def test_irregular_plurals_of_the_mini_wordnet(mini_wordnet: WordNet) -> None:
    assert mini_wordnet.base_forms("geese") == ("goose",)


@pytest.mark.parametrize("size", ["mini_wordnet", "wordnet"])
def test_table_round_trip(size: str, request: pytest.FixtureRequest) -> None:
    network: WordNet = request.getfixturevalue(size)
    assert wordnet_from_table(network.to_table(), network.exceptions) == network


def test_the_packaged_nouns_are_loaded_once() -> None:
    assert load_wordnet() is load_wordnet()


def test_exceptions_may_have_several_base_forms_and_blank_lines_are_skipped() -> None:
    assert parse_exceptions(["leaves leaf leave", "", "mice mouse"]) == {
        "leaves": ("leaf", "leave"),
        "mice": ("mouse",),
    }


def test_sense_counts() -> None:
    assert parse_sense_counts(["dog%1:05:00:: 1 42"]) == {"dog%1:05:00::": 42}


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"gone: there is no data\.noun or .* in it; name a folder with WordNet 3\.0"):
        load_wordnet(tmp_path / "gone")


def test_only_the_missing_files_are_named(wordnet_copy: Path) -> None:
    (wordnet_copy / "cntlist.rev").unlink()
    with pytest.raises(UsageError, match=r": there is no cntlist\.rev in it;"):
        load_wordnet(wordnet_copy)


def test_another_version_is_refused(wordnet_copy: Path) -> None:
    text = (wordnet_copy / "data.adj").read_text("utf-8").replace("WordNet 3.0", "WordNet 2.1")
    (wordnet_copy / "data.adj").unlink()
    (wordnet_copy / "data.adj").write_text(text, "utf-8")
    with pytest.raises(DataError, match=r"these files are of WordNet 2\.1, not 3\.0"):
        load_wordnet(wordnet_copy)


@pytest.mark.slow
def test_a_cut_file_is_refused(wordnet_copy: Path) -> None:
    whole = (wordnet_copy / "data.noun").read_bytes()
    (wordnet_copy / "data.noun").unlink()
    (wordnet_copy / "data.noun").write_bytes(whole[: len(whole) // 50])
    with pytest.raises(DataError, match="NLTK cannot read these WordNet files"):
        load_wordnet(wordnet_copy)


def test_files_without_sense_index_are_refused(wordnet_copy: Path) -> None:
    (wordnet_copy / "index.adv").unlink()
    with pytest.raises(DataError, match="NLTK cannot read these WordNet files"):
        load_wordnet(wordnet_copy)
