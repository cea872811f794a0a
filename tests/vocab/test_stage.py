"""The vocabulary stage on files: both forms end to end, and bad input."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlimages_dataset.core.errors import ConfigError, DataError, MLImagesError, SchemaError, UsageError, VocabularyError
from mlimages_dataset.pipeline.folder import OutputFolder
from mlimages_dataset.pipeline.stage import Workplace, run
from mlimages_dataset.sources.class_lists import parse_tencent_dictionary
from mlimages_dataset.tables.parquet import table_inputs, write_table
from mlimages_dataset.tables.schemas import CATEGORIES, CLASS_COUNTS, MAPPING
from mlimages_dataset.vocab.folder import categories_file, read_vocabulary, vocabulary_digests
from mlimages_dataset.vocab.packaged import packaged_class_list, packaged_imagenet
from mlimages_dataset.vocab.stage import (
    VocabularyFiles,
    published_vocabulary_stage,
    read_class_lists,
    read_image_counts,
    read_tencent_dictionary,
    vocabulary_stage,
    write_vocabulary,
)
from mlimages_dataset.vocab.vocabulary import OPEN_IMAGES_MINIMUM

if TYPE_CHECKING:
    from pathlib import Path

    from mlimages_dataset.vocab.vocabulary import Vocabulary

DOG, PUPPY, DOMESTIC_CAT, TENNIS, PET = "n02084071", "n01322604", "n02121808", "n00482298", "n01318894"
IMAGENET_TEXT = f"{DOG} dog\n{DOMESTIC_CAT} domestic cat\n{TENNIS} tennis\n{DOG} dog\n"
OPEN_IMAGES_TEXT = "LabelName,DisplayName\n/m/0bt9lr,Domestic dog\n/m/068hy,Pet\n/m/0zorb,Zorbing\n"
DICTIONARY_TEXT = (
    "category_index\tcategory_id\tindex_of_parent_category\tcategory name\n"
    "0\tn00002684\t-1\tobject, physical object\n"
    f"1\t{DOG}\t0\tdog, domestic dog\n"
    f"2\t{PUPPY}\t1\tpuppy\n"
)


def written(file: Path, text: str) -> Path:
    file.write_text(text, "utf-8")
    return file


@pytest.fixture
def given(tmp_path: Path) -> VocabularyFiles:
    """Return a small list of each source and no reviewed decisions."""
    return VocabularyFiles(
        imagenet=written(tmp_path / "synsets.txt", IMAGENET_TEXT),
        open_images=written(tmp_path / "classes.csv", OPEN_IMAGES_TEXT),
        reviewed=written(tmp_path / "reviewed.toml", "# none\n"),
    )


def fates(vocabulary: Vocabulary) -> dict[str, str]:
    """Return the rule of each class by its id."""
    return {row.source_id: row.rule for row in vocabulary.mapping}


def changed(given: VocabularyFiles, **files: Any) -> VocabularyFiles:
    unchanged = {name: getattr(given, name) for name in ("imagenet", "open_images", "reviewed")}
    return VocabularyFiles(**{**unchanged, **files})


def test_what_is_written_is_what_is_read_again(given: VocabularyFiles, tmp_path: Path) -> None:
    result = write_vocabulary(given, Workplace(tmp_path / "out", given.digests()))
    vocabulary = read_vocabulary(tmp_path / "out")
    assert {DOG, DOMESTIC_CAT, PET} == {c.wnid for c in vocabulary.categories} - {
        c.wnid for c in vocabulary.categories[:4]
    }
    assert fates(vocabulary)[TENNIS] == "dropped: abstract"
    assert fates(vocabulary)["/m/0zorb"] == "dropped: unmatched name"
    dog = vocabulary.categories[vocabulary.index_of_wnid[DOG]]
    assert (dog.sources, dog.mids) == (("imagenet", "open-images"), ("/m/0bt9lr",))
    assert [receipt.path.name for receipt in result.receipts] == ["categories.parquet", "mapping.parquet"]
    assert [receipt.rows for receipt in result.receipts] == [len(vocabulary), len(vocabulary.mapping)]
    for receipt in result.receipts:
        assert hashlib.sha256(receipt.path.read_bytes()).hexdigest() == receipt.sha256
        assert table_inputs(receipt.path) == given.digests()


def test_the_summary_holds_the_funnel_and_the_repeated_ids(given: VocabularyFiles, tmp_path: Path) -> None:
    summary = write_vocabulary(given, Workplace(tmp_path / "out")).summary
    assert summary.repeated_ids == {"imagenet": (DOG,)}
    assert summary.funnel[:3] == (
        ("imagenet", "entered", 4),
        ("imagenet", "dropped: abstract", 1),
        ("imagenet", "dropped: repeated id", 1),
    )
    assert summary.funnel[-1] == ("vocabulary", "categories", len(read_vocabulary(tmp_path / "out")))


@pytest.mark.slow
def test_the_same_files_give_the_same_bytes(given: VocabularyFiles, tmp_path: Path) -> None:
    first, second = (write_vocabulary(given, Workplace(tmp_path / name)).receipts for name in ("a", "b"))
    assert [receipt.sha256 for receipt in first] == [receipt.sha256 for receipt in second]


@pytest.mark.slow
def test_every_optional_file_takes_part(given: VocabularyFiles, tmp_path: Path) -> None:
    box = '{"LabelName": "/m/0bl9f", "Subcategory": [{"LabelName": "/m/068hy"}]}'
    files = VocabularyFiles(
        imagenet=given.imagenet,
        open_images=given.open_images,
        finer=written(tmp_path / "finer.txt", f"{PUPPY}\n{DOG}\n"),
        classes=(("mine", written(tmp_path / "mine.csv", "id,name\n7,goldfish\n")),),
        image_counts=(
            written(tmp_path / "counts.csv", "source,source_id,images\nopen-images,/m/0bt9lr,700\nmine,7,1\n"),
            written(tmp_path / "status.xml", f'<a><synset wnid="{DOG}" numImages="30"/></a>'),
        ),
        box_hierarchy=written(tmp_path / "boxes.json", box),
        reviewed=written(
            tmp_path / "mine.toml", f'[[add_edge]]\nchild = "{DOG}"\nparent = "n01322685"\nreason = "a trial"\n'
        ),
    )
    write_vocabulary(files, Workplace(tmp_path / "out", files.digests()))
    vocabulary = read_vocabulary(tmp_path / "out")
    assert fates(vocabulary)[PUPPY] == "finer-grained"
    assert fates(vocabulary)["/m/068hy"] == "dropped: too few images"
    assert vocabulary.categories[vocabulary.index_of_wnid[DOG]].images == 730
    assert [row.wnid for row in vocabulary.mapping if row.source == "mine"] == ["n01443537"]
    assert set(table_inputs(tmp_path / "out" / "mapping.parquet")) == {
        "imagenet/synsets.txt", "open-images/classes.csv", "finer/finer.txt", "classes of mine/mine.csv",
        "counts/counts.csv", "counts/status.xml", "box hierarchy/boxes.json", "reviewed/mine.toml",
    }  # fmt: skip


def test_refinements_that_are_listed_already_are_not_listed_twice(given: VocabularyFiles, tmp_path: Path) -> None:
    finer = written(tmp_path / "finer.txt", f"{PUPPY}\n{DOG}\n")
    lists = read_class_lists(changed(given, finer=finer))
    assert [one.title for one in lists] == ["imagenet", "imagenet (finer)", "open-images"]
    assert [c.source_id for c in lists[1].classes] == [PUPPY]
    assert [one.minimum_images for one in lists] == [0, 0, OPEN_IMAGES_MINIMUM]


def test_a_users_list_may_be_parquet(tmp_path: Path) -> None:
    file = tmp_path / "mine.parquet"
    pq.write_table(pa.table({"name": ["dog", " cat "], "id": [3, 4], "note": [None, None]}), file)
    (one,) = read_class_lists(VocabularyFiles(classes=(("mine", file),)))
    assert [(c.source_id, c.name) for c in one.classes] == [("3", "dog"), ("4", "cat")]


@pytest.mark.parametrize(
    ("columns", "what"),
    [
        ({"id": ["1"], "label": ["dog"]}, "no column name in its header ('id,label')"),
        ({"id": ["1", None], "name": ["dog", "cat"]}, "row 2 holds a null"),
        ({"id": ["1", ""], "name": ["dog", "cat"]}, "the id of row 2 is empty"),
        ({"id": pa.array([], pa.string()), "name": pa.array([], pa.string())}, "holds no classes"),
    ],
)
def test_a_parquet_list_that_is_none_is_refused(tmp_path: Path, columns: dict[str, list[str]], what: str) -> None:
    file = tmp_path / "mine.parquet"
    pq.write_table(pa.table(columns), file)
    with pytest.raises(DataError) as caught:
        read_class_lists(VocabularyFiles(classes=(("mine", file),)))
    assert (caught.value.what, caught.value.where) == (what, str(file))


@pytest.mark.parametrize("content", [None, b"", b"PAR1 cut"])
def test_a_parquet_list_that_cannot_be_read_is_refused(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "mine.parquet"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(MLImagesError, match=r"mine\.parquet: cannot be read"):
        read_class_lists(VocabularyFiles(classes=(("mine", file),)))


def test_image_counts_of_several_files_are_added(tmp_path: Path) -> None:
    rows = pa.table({"source": ["imagenet", "mine"], "source_id": [DOG, "1"], "images": [5, 1]})
    write_table(tmp_path / "counts.parquet", rows.cast(CLASS_COUNTS.arrow), CLASS_COUNTS, {})
    files = [
        tmp_path / "counts.parquet",
        written(tmp_path / "counts.csv", f"images,source,source_id,note\n7,imagenet,{DOG},x\n 2 ,mine,1,\n"),
        written(tmp_path / "status.xml", f'<a><synset wnid="{DOG}" numImages="30"/></a>'),
    ]
    assert read_image_counts(files) == {("imagenet", DOG): 42, ("mine", "1"): 3}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("source,id,images\n", "counts.csv, line 1: no columns source, source_id and images in its header"),
        ("source,source_id,images\na,b,many\n", "counts.csv, line 2: 'many' is not a number of images"),
        ("source,source_id,images\na,b,1\na,b,-1\n", "counts.csv, line 3: '-1' is not a number of images"),
        ("source,source_id,images\na,b\n", "counts.csv, line 2: '' is not a number of images"),
    ],
)
def test_bad_image_counts_are_refused(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(DataError) as caught:
        read_image_counts([written(tmp_path / "counts.csv", text)])
    assert str(caught.value).startswith(f"{tmp_path}/{sentence}")


@pytest.mark.parametrize(
    ("option", "text", "error", "sentence"),
    [
        ("imagenet", "dog\n", DataError, "bad, line 1: 'dog' does not begin with a wnid"),
        ("imagenet", " \n", DataError, "bad: is empty; obtain the file again"),
        ("imagenet", "n01\0", DataError, "bad: is not a text file"),
        ("open_images", "/m/0\n", DataError, "bad, line 1: '/m/0' is not an Open Images id"),
        ("box_hierarchy", "{", DataError, "bad: is not Open Images' box hierarchy"),
        ("finer", "puppy\n", DataError, "bad, line 1: 'puppy' does not begin with a wnid"),
        ("reviewed", "[[edge]]\n", ConfigError, "bad: unknown table 'edge'"),
        (
            "reviewed",
            f'[[add_edge]]\nchild = "n00002684"\nparent = "{DOG}"\nreason = "x"\n',
            VocabularyError,
            f"bad, add_edge 1: the edge n00002684 -> {DOG} closes a cycle",
        ),
        (
            "reviewed",
            '[[drop_category]]\nwnid = "n99999999"\nreason = "x"\n',
            VocabularyError,
            "bad, drop_category 1: n99999999 is not a noun synset of WordNet 3.0",
        ),
    ],
)
def test_a_bad_file_is_named_and_nothing_is_written(
    given: VocabularyFiles, tmp_path: Path, *, option: str, text: str, error: type[MLImagesError], sentence: str
) -> None:
    files = changed(given, **{option: written(tmp_path / "bad", text)})
    with pytest.raises(error) as caught:
        write_vocabulary(files, Workplace(tmp_path / "out"))
    assert str(caught.value).startswith(f"{tmp_path}/{sentence}")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("option", ["imagenet", "open_images", "finer", "box_hierarchy", "reviewed", "wordnet"])
def test_a_missing_file_is_named(given: VocabularyFiles, tmp_path: Path, option: str) -> None:
    with pytest.raises(UsageError) as caught:
        write_vocabulary(changed(given, **{option: tmp_path / "gone"}), Workplace(tmp_path / "out"))
    assert str(caught.value).startswith(f"{tmp_path}/gone: ")
    assert caught.value.remedy


def test_a_list_under_anothers_name_fails_its_check(given: VocabularyFiles, tmp_path: Path) -> None:
    again = (("imagenet", written(tmp_path / "again.csv", f"id,name\n{DOG},dog\n")),)
    files = VocabularyFiles(imagenet=given.imagenet, reviewed=given.reviewed, classes=again)
    with pytest.raises(VocabularyError, match="V104 A source's class is in the mapping twice: imagenet n02084071"):
        write_vocabulary(files, Workplace(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_vocabulary_without_a_class_of_its_lists_is_refused(given: VocabularyFiles, tmp_path: Path) -> None:
    classes = (("mine", written(tmp_path / "mine.csv", "id,name\n1,qwertz\n2,zxcvb\n")),)
    with pytest.raises(
        VocabularyError, match=r"none of 2 classes became a category \(dropped: unmatched name: 2\); the first is "
    ):
        write_vocabulary(VocabularyFiles(classes=classes, reviewed=given.reviewed), Workplace(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_builds_folder_stands_for_the_vocabulary_in_it(given: VocabularyFiles, tmp_path: Path) -> None:
    run(vocabulary_stage(given, into="vocabulary"), OutputFolder(tmp_path / "build"))
    inside = tmp_path / "build" / "vocabulary"
    assert read_vocabulary(tmp_path / "build") == read_vocabulary(inside)
    assert read_vocabulary(tmp_path / "build").folder == inside
    assert vocabulary_digests(tmp_path / "build") == vocabulary_digests(inside)
    assert categories_file(tmp_path / "build") == categories_file(inside) == inside / "categories.parquet"


def test_a_folder_without_a_vocabulary_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"categories\.parquet: there is no such file"):
        read_vocabulary(tmp_path)


def test_another_table_in_place_of_the_categories_is_refused(given: VocabularyFiles, tmp_path: Path) -> None:
    write_vocabulary(given, Workplace(tmp_path))
    (tmp_path / "mapping.parquet").replace(tmp_path / "categories.parquet")
    with pytest.raises(SchemaError, match=f"the table's schema is {MAPPING.label}, but {CATEGORIES.label} is needed"):
        read_vocabulary(tmp_path)


def test_the_published_dictionary_is_written_and_read_as_it_is(tmp_path: Path) -> None:
    dictionary = written(tmp_path / "dictionary.txt", DICTIONARY_TEXT)
    vocabulary = read_tencent_dictionary(dictionary)
    assert [(c.wnid, c.parent, c.root, c.depth, c.name) for c in vocabulary.categories] == [
        ("n00002684", -1, 0, 0, "object, physical object"),
        (DOG, 0, 0, 1, "dog, domestic dog"),
        (PUPPY, 1, 0, 2, "puppy"),
    ]
    outcome = run(published_vocabulary_stage(dictionary), OutputFolder(tmp_path / "out"))
    assert read_vocabulary(tmp_path / "out") == vocabulary
    assert outcome.summary.funnel == (("tencent", "entered", 3), ("vocabulary", "categories", 3))


def test_a_cycle_in_the_dictionary_is_refused(tmp_path: Path) -> None:
    dictionary = written(tmp_path / "dictionary.txt", DICTIONARY_TEXT.replace("\t0\tdog", "\t2\tdog"))
    with pytest.raises(VocabularyError, match=r"dictionary\.txt: the parents form a cycle: (n\d+) > (n\d+) > \1;"):
        read_tencent_dictionary(dictionary)


@pytest.mark.shared_data
def test_the_published_rows_are_the_categories(shared_data: Path) -> None:
    file = shared_data / "tencent/dictionary_first_9418.txt"
    vocabulary = read_tencent_dictionary(file)
    rows = parse_tencent_dictionary(file.read_text("utf-8").splitlines(), "x")
    assert [(c.wnid, c.parent, c.name) for c in vocabulary.categories] == [(r.wnid, r.parent, r.name) for r in rows]
    assert len(vocabulary) == 9_418
    assert max(c.depth for c in vocabulary.categories) == 16
    assert vocabulary.closure.sum() == sum(c.depth + 1 for c in vocabulary.categories)  # a tree has one way up


def test_the_packaged_lists_give_a_vocabulary_without_findings(tmp_path: Path) -> None:
    files = VocabularyFiles(
        imagenet=packaged_class_list("imagenet11k.txt"), open_images=packaged_class_list("open_images_boxable.csv")
    )
    write_vocabulary(files, Workplace(tmp_path, files.digests()))
    vocabulary = read_vocabulary(tmp_path)
    assert sum(row.source == "imagenet" and row.class_index >= 0 for row in vocabulary.mapping) >= 10_900
    assert sum(row.source == "open-images" for row in vocabulary.mapping) == 601


def test_the_packaged_fall_2011_list() -> None:
    assert len(packaged_imagenet()) == 21_841


@pytest.mark.parametrize("name", ["imagenet12k.txt", "wordnet.parquet", "../stage.py", ""])
def test_what_is_no_packaged_class_list_is_refused(name: str) -> None:
    with pytest.raises(
        UsageError, match=r"^there is no packaged class list '.*'; use one of imagenet11k\.txt, imagenet"
    ):
        packaged_class_list(name)


def test_what_numbers_of_images_do_not_count_is_told(given: VocabularyFiles, tmp_path: Path) -> None:
    counts = written(tmp_path / "counts.csv", "source,source_id,images\nimagenets,n02084071,700\nopen-images,/m/1,1\n")
    mine = (("mine", written(tmp_path / "mine.csv", "id,name\n7,goldfish\n")),)
    stated = (("open-images", 0), ("imagenet", 5), ("mine", 7))
    files = changed(given, classes=mine, image_counts=(counts,), minimum_images=stated)
    summary = write_vocabulary(files, Workplace(tmp_path / "out", files.digests())).summary
    assert (summary.uncounted, summary.strange_counts) == (("imagenet", "mine"), ("imagenets",))
    told = summary.findings()
    assert (
        sum(
            "no image counts (--image-counts of vocab, or image_counts in a recipe) are of this list" in one
            for one in told
        )
        == 2
    )
    assert any(one.startswith("imagenets: the source of image counts, but no class list") for one in told)
    usual = changed(given, classes=mine)
    summary = write_vocabulary(usual, Workplace(tmp_path / "usual", usual.digests())).summary
    assert (summary.uncounted, summary.strange_counts) == ((), ())


def test_the_advice_on_a_dropped_class_would_keep_it(given: VocabularyFiles, tmp_path: Path) -> None:
    counts = written(tmp_path / "counts.csv", "source,source_id,images\nmine,7,6\n")
    reviewed = f'[[drop_category]]\nwnid = "{PUPPY}"\nreason = "a trial"\n'
    rows = f"id,name,wnid\n7,goldfish,\n8,cat,\n9,my pup,{PUPPY}\n"
    classes = (("mine", written(tmp_path / "mine.csv", rows)),)
    files = changed(given, classes=classes, image_counts=(counts,), minimum_images=(("mine", 7),))
    lost = {one.source_id: one for one in write_vocabulary(files, Workplace(tmp_path / "a", {})).summary.losses}
    assert {one.remedy.partition(" (")[0] for one in lost.values()} == {"lower the least number of images of its list"}
    assert not any(any(one.row) for one in lost.values())
    files = changed(given, classes=classes, reviewed=written(tmp_path / "mine.toml", reviewed))
    (lost_one,) = write_vocabulary(files, Workplace(tmp_path / "b", {})).summary.losses
    assert (
        lost_one.remedy
        == "decide otherwise in a reviewed file (--reviewed of vocab, or reviewed in a recipe), or leave it out"
    )
