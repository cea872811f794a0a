"""The public functions make what the command makes, take frames as users have them, and refuse in one sentence."""

from __future__ import annotations

import inspect
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import mlimages_dataset as ml
from mlimages_dataset.pipeline.verify import verify_folder
from mlimages_dataset.tables.parquet import read_table, table_parts
from mlimages_dataset.tables.schemas import ANNOTATIONS, IMPLICATIONS, LABELS, PAIR_COUNTS, PREDICTIONS
from mlimages_dataset.vocab.stage import read_tencent_dictionary
from tests.golden.inputs_and_tables import write_inputs

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.tables.schemas import TableSchema

DOG, CAT, CROSS, CRANES = "n02084071", "n02121808", "n03135532", ("n03126707", "n02012849")


@pytest.fixture(name="vocabulary", scope="module")
def _vocabulary() -> ml.Vocabulary:
    return ml.build_vocabulary(
        imagenet=[DOG, CAT, CROSS, *CRANES],
        classes={"pets": pd.DataFrame({"id": ["d", "c"], "name": ["dog", "house cat"]})},
    )


@pytest.fixture(name="inputs", scope="module")
def _inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_inputs(tmp_path_factory.mktemp("golden") / "inputs").parent


@pytest.fixture(name="built", scope="module")
def _built(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> ml.Build:
    return ml.run(inputs / "recipe.toml", tmp_path_factory.mktemp("built") / "build")


def golden_vocabulary(inputs: Path, **options: Any) -> ml.Vocabulary:
    return ml.build_vocabulary(
        imagenet=inputs / "synsets.txt",
        open_images=inputs / "classes.csv",
        image_counts=[inputs / "counts.csv"],
        reviewed=inputs / "reviewed.toml",
        **options,
    )


def rows_of(folder: Location, schema: TableSchema) -> list[dict[str, Any]]:
    return [row for part in table_parts(folder) for row in read_table(part, schema).to_pylist()]


@pytest.mark.slow
@pytest.mark.parametrize("in_folders", [False, True])
@pytest.mark.filterwarnings("ignore:left out")
def test_single_calls_make_what_a_recipe_makes(
    inputs: Path, built: ml.Build, tmp_path: Path, *, in_folders: bool
) -> None:
    def out(name: str) -> dict[str, Any]:
        return {"out": tmp_path / name} if in_folders else {}

    vocabulary = golden_vocabulary(inputs, **out("vocabulary"))
    assert vocabulary == built.vocabulary
    known: Any = tmp_path / "vocabulary" if in_folders else vocabulary
    collections = {
        "imagenet": ml.annotate(inputs / "imagenet.txt", known, format="imagenet", **out("imagenet")),
        "open-images": ml.annotate(
            [inputs / "labels.csv", inputs / "images.csv"],
            known,
            format="open-images",
            min_confidence=0.7,
            **out("open-images"),
        ),
        "own": ml.annotate(inputs / "own.csv", known, source="own", **out("own")),
    }
    for name, made in collections.items():
        assert rows_of(made.folder, ANNOTATIONS) == rows_of(built.annotations[name].folder, ANNOTATIONS)
        assert made.summary == built.annotations[name].summary
    given: Any = {name: tmp_path / name for name in collections} if in_folders else collections
    # The predictions were written with another copy of the same vocabulary, which their file does not name.
    pairs = ml.cooccurrence(given["imagenet"], inputs / "predictions", known, **out("pairs"))
    assert built.pairs is not None
    pd.testing.assert_frame_equal(pairs.implications, built.pairs.implications)
    assert np.array_equal(pairs.matrix.toarray(), built.pairs.matrix.toarray())
    labels = ml.augment(
        list(given.values()),
        known,
        tmp_path / "pairs" if in_folders else pairs,
        validation_images=3,
        validation_images_per_category=1,
        **out("labels"),
    )
    pd.testing.assert_frame_equal(labels.to_pandas(), built.labels.to_pandas())
    for split in ("train", "val"):
        pd.testing.assert_frame_equal(labels.to_pandas(split), built.labels.to_pandas(split))
    if in_folders:
        assert not any(verify_folder(tmp_path / name) for name in ("vocabulary", "own", "pairs", "labels"))


def test_a_frame_of_labels_has_a_row_a_label(built: ml.Build) -> None:
    frame = built.labels.to_pandas()
    assert list(frame.columns) == ["image_id", "source", "class_index", "wnid", "name", "confidence", "origin"]
    categories = built.vocabulary.categories
    expected = [
        (row["image_id"], row["source"], label["class_index"], category.wnid, category.name, label["confidence"])
        for split in ("train", "val")
        for row in rows_of(built.labels.folder / split, LABELS)
        for label in row["labels"]
        for category in [categories[label["class_index"]]]
    ]
    assert [tuple(row[:6]) for row in frame.itertuples(index=False)] == expected
    assert set(frame["origin"]) <= {int(origin) for origin in ml.Origin}
    assert len(built.labels) == len({row[:2] for row in expected})


def test_the_matrix_is_the_share_of_annotated_images(built: ml.Build, inputs: Path) -> None:
    assert built.pairs is not None
    predicted = {
        row["image_id"]: {label["class_index"] for label in row["labels"] if label["confidence"] > np.float32(0.95)}
        for row in rows_of(inputs / "predictions", PREDICTIONS)
    }
    size = len(built.vocabulary)
    both, alone = np.zeros((size, size)), np.zeros(size)
    for row in rows_of(built.annotations["imagenet"].folder, ANNOTATIONS):
        for label in row["labels"]:
            if label["confidence"] > 0:
                alone[label["class_index"]] += 1
                for other in predicted.get(row["image_id"], set()):
                    both[label["class_index"], other] += 1
    expected = np.divide(both, alone[:, None], out=np.zeros_like(both), where=alone[:, None] > 0)
    assert np.array_equal(built.pairs.matrix.toarray(), expected)
    assert read_table(built.pairs.folder / "pair_counts.parquet", PAIR_COUNTS).num_rows == built.pairs.matrix.nnz
    strong = read_table(built.pairs.folder / "implications.parquet", IMPLICATIONS)
    assert sorted(built.pairs.implications["antecedent"]) == sorted(strong["antecedent"].to_pylist())


def test_every_label_says_what_it_follows_from(built: ml.Build) -> None:
    frame = built.labels.to_pandas()
    reasons = pd.concat([built.labels.why(image_id) for image_id in frame["image_id"].unique()])
    assert len(reasons) == len(frame)
    kinds = {
        ml.Origin.ORIGINAL: r"annotated by \S+(; also because (of )?.+)?|\S+ says that it is absent",
        ml.Origin.ANCESTOR: r"because .+ (is one|are)|below .+, which is absent",
        ml.Origin.CO_OCCURRENCE: r"because of .+: [\d,]+ of [\d,]+ images.*|because .+ (is one|are)",
    }
    for origin, pattern in kinds.items():
        of_origin = reasons[reasons["origin"] == int(origin)]
        assert len(of_origin), f"the golden build has labels of {origin.name}"
        assert of_origin["why"].str.fullmatch(pattern).all(), of_origin["why"].tolist()
    with pytest.raises(ml.MLImagesError, match="no image has the id 'nobody'; ids here are such as '"):
        built.labels.why("nobody")


def test_results_are_written_and_read_back(built: ml.Build, tmp_path: Path) -> None:
    assert built.pairs is not None
    ml.write_vocabulary(built.vocabulary, tmp_path / "vocabulary")
    built.pairs.write(tmp_path / "pairs")
    for _ in range(2):  # a copy that is there already is none the worse for it
        built.labels.write(tmp_path / "labels")
    built.annotations["own"].write(tmp_path / "own")
    assert not any(verify_folder(tmp_path / name) for name in ("vocabulary", "pairs", "labels", "own"))
    vocabulary = ml.read_vocabulary(tmp_path / "vocabulary")
    labels = ml.Labels.read(tmp_path / "labels", vocabulary, tmp_path / "pairs")
    pd.testing.assert_frame_equal(labels.to_pandas(), built.labels.to_pandas())
    image_id = labels.to_pandas()["image_id"][0]
    pd.testing.assert_frame_equal(labels.why(image_id), built.labels.why(image_id))
    pd.testing.assert_frame_equal(ml.Pairs.read(tmp_path / "pairs", vocabulary).implications, built.pairs.implications)
    # What was written goes on: the vocabulary is the very one that the tables were made with.
    again = ml.augment(ml.Annotations.read(tmp_path / "own", vocabulary), vocabulary, tmp_path / "pairs")
    assert len(again) == len(built.annotations["own"])
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ml.MLImagesError, match="holds files but no manifest"):
        built.labels.write(tmp_path)


def test_rows_of_the_implications_may_be_chosen(built: ml.Build) -> None:
    assert built.pairs is not None
    annotations, vocabulary = list(built.annotations.values()), built.vocabulary
    every = ml.augment(annotations, vocabulary, built.pairs.implications).to_pandas()
    pd.testing.assert_frame_equal(every, ml.augment(annotations, vocabulary, built.pairs).to_pandas())
    none = ml.augment(annotations, vocabulary, built.pairs.implications.head(0)).to_pandas()
    pd.testing.assert_frame_equal(none, ml.augment(annotations, vocabulary).to_pandas())
    assert len(none) < len(every)


FRAMES: dict[str, Callable[[pd.DataFrame], Any]] = {
    "pandas": lambda frame: frame,
    "another index": lambda frame: frame.set_index(pd.Index(["x", "y", "z"])),
    "categoricals": lambda frame: frame.astype({"label": "category", "image_id": "category"}),
    "objects": lambda frame: frame.astype({"label": object, "image_id": object}),
    "strings": lambda frame: frame.astype({"label": "string", "image_id": "string"}),
    "doubles": lambda frame: frame.astype({"confidence": "float64"}),
    "more columns": lambda frame: frame.assign(mood="fine"),
    "Arrow": lambda frame: pa.Table.from_pandas(frame, preserve_index=False),
    "polars": pl.from_pandas,
}


@pytest.mark.parametrize("form", FRAMES)
def test_a_frame_is_as_good_as_a_file(form: str, vocabulary: ml.Vocabulary, tmp_path: Path) -> None:
    frame = pd.DataFrame({"image_id": ["a", "a", "b"], "label": ["d", CROSS, CAT], "confidence": [1, 0.25, 0]})
    frame.to_csv(tmp_path / "frame.csv", index=False)
    expected = ml.annotate(tmp_path / "frame.csv", vocabulary).to_pandas()
    pd.testing.assert_frame_equal(ml.annotate(FRAMES[form](frame), vocabulary).to_pandas(), expected)


def test_whole_numbers_are_ids_and_confidences(vocabulary: ml.Vocabulary) -> None:
    frame = pd.DataFrame({"image_id": [7, 8], "label": ["d", "d"], "confidence": [1, 0]})
    found = ml.annotate(frame, vocabulary).to_pandas()
    assert found[["image_id", "confidence"]].to_numpy().tolist() == [["7", 1.0], ["8", 0.0]]


REFUSED: dict[str, tuple[Any, str]] = {
    "no image_id": ({"label": ["d"]}, r"the frame: no column image_id among label; .*reset_index\(\)"),
    "no label": ({"image_id": ["a"], "tag": ["d"]}, "the frame: no column label among image_id, tag; rename"),
    "no value": ({"image_id": ["a", None], "label": ["d", "d"]}, "the frame: row 1 has no image_id; "),
    "not a number": ({"image_id": ["a", "b"], "label": ["d", float("nan")]}, "the frame: row 1 has no label; "),
    "several types": (
        {"image_id": [1, "b"], "label": ["d", "d"]},
        r"the column image_id holds values of several types \(int, str\); .*astype\(str\)",
    ),
    "fractions": (
        {"image_id": [1.5], "label": ["d"]},
        "its column image_id is double, not text; give texts or whole numbers",
    ),
    "no confidence": (
        {"image_id": ["a"], "label": ["d"], "confidence": [float("nan")]},
        "the frame: row 0 has no confidence; ",
    ),
    "more than sure": (
        {"image_id": ["a"], "label": ["d"], "confidence": [1.5]},
        r"row 0 has the confidence 1\.5, which is not in 0\.\.1",
    ),
    "percent": ({"image_id": ["a"], "label": ["d"], "confidence": [95]}, "row 0 has the confidence 95"),
    "permille": ({"image_id": ["a"], "label": ["d"], "confidence": [950]}, "row 0 has the confidence 950"),
    "a little more than sure": (
        {"image_id": ["a"], "label": ["d"], "confidence": [1.00000001]},
        r"row 0 has the confidence 1\.00000001, which is not in 0\.\.1",
    ),
    "truth values": (
        {"image_id": ["a"], "label": ["d"], "confidence": [True]},
        "the column confidence has the type bool, but must hold numbers",
    ),
    "words": ({"image_id": ["a"], "label": ["d"], "confidence": ["sure"]}, "row 0 has the confidence sure, "),
    "no row": ({"image_id": [], "label": []}, "the frame: has no row"),
    "unknown classes only": ({"image_id": ["a"], "label": ["z"]}, "the frame: no image keeps a label: .* unknown"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_frame_that_cannot_be_used_is_refused_in_a_sentence(case: str, vocabulary: ml.Vocabulary) -> None:
    columns, expected = REFUSED[case]
    with pytest.raises(ml.MLImagesError, match=expected):
        ml.annotate(pd.DataFrame(columns), vocabulary)


def test_other_things_are_refused_in_a_sentence(vocabulary: ml.Vocabulary, tmp_path: Path) -> None:
    frame = pd.DataFrame({"image_id": ["a"], "label": ["d"]})
    wrong: Any = 3
    calls: list[tuple[Callable[[], object], str]] = [
        (lambda: ml.annotate(wrong, vocabulary), "the frame is of the type int"),
        (lambda: ml.annotate([], vocabulary), "data is empty"),
        (lambda: ml.annotate(frame, wrong), "vocabulary is of the type int"),
        (lambda: ml.annotate(frame, tmp_path / "nowhere"), "nowhere.*there is no such file"),
        (lambda: ml.annotate(tmp_path / "no.csv", vocabulary), r"no\.csv: there is no such file"),
        (lambda: ml.annotate(frame, vocabulary, format="tencent"), "a frame cannot have the format tencent"),
        (
            lambda: ml.annotate(frame, vocabulary, format=wrong),
            "format is 3, but must be the name of a format, such as 'csv'",
        ),
        (lambda: ml.annotate(frame, vocabulary, source="a/b"), "source is 'a/b', but must be a name that a folder"),
        (lambda: ml.augment([], vocabulary), "annotations is empty"),
        (
            lambda: ml.augment(frame, vocabulary, pd.DataFrame({"a": [1]})),
            "frame of pairs: no column probability among a",
        ),
        (
            lambda: ml.augment(frame, vocabulary, validation_images=-1),
            "validation_images is -1, but must be a whole number",
        ),
        (
            lambda: ml.augment(frame, vocabulary, absences=wrong),
            "absences is 3, but must be 'expand' or 'keep' or 'drop'",
        ),
        (lambda: ml.augment(frame, vocabulary).to_pandas("test"), "there is no split 'test'; use one of train, val"),
        (
            lambda: ml.cooccurrence(frame, frame, vocabulary, strength=50),
            r"strength is 50, but must be a number in 0\.\.1",
        ),
        (ml.build_vocabulary, "no class list is given; pass imagenet, open_images or classes"),
        (lambda: ml.build_vocabulary(imagenet=[]), "the wnids of imagenet: is empty"),
        (lambda: ml.build_vocabulary(imagenet=["dog"]), "the wnids of imagenet: 'dog' does not begin with a wnid"),
        (lambda: ml.build_vocabulary(imagenet="packaged:none.txt"), "there is no packaged file 'none.txt'"),
        (
            lambda: ml.build_vocabulary(imagenet=[DOG], classes={"imagenet": frame}),
            "two class lists have the name 'imagenet'; name each differently",
        ),
        (lambda: ml.build_vocabulary(classes={"x": frame}), r"the frame of classes\['x'\]: no column id"),
        (lambda: ml.build_vocabulary(imagenet=[DOG], minimum_images={"y": 1}), "minimum_images names 'y'"),
        (
            lambda: ml.build_vocabulary(classes={"\ud800": frame}),
            r"'\\ud800' cannot be the name of your own class list",
        ),
        (
            lambda: ml.build_vocabulary(imagenet=[DOG], wordnet="s3://b/x"),
            "wordnet is 's3://b/x', a URL; name a path of this machine",
        ),
        (
            lambda: ml.build_vocabulary(tencent_dictionary="tree.txt", minimum_images={"y": 1}),
            "minimum_images names 'y', which is no class list that is given; pass a class list",
        ),
        (lambda: ml.run(tmp_path / "no.toml", tmp_path / "out"), r"no\.toml"),
    ]
    for call, expected in calls:
        with pytest.raises(ml.MLImagesError, match=expected):
            call()


def test_what_is_left_out_is_told(vocabulary: ml.Vocabulary) -> None:
    frame = pd.DataFrame({"image_id": ["a", "b"], "label": ["d", "unheard of"]})
    with pytest.warns(UserWarning, match=r"labels of unknown classes: 1 \(such as class 'unheard of'\); see summary"):
        annotations = ml.annotate(frame, vocabulary)
    assert annotations.summary is not None
    assert annotations.summary.unknown == 1
    with pytest.warns(UserWarning, match="images of several names, which may be different pictures: 1 "):
        ml.annotate(pd.DataFrame({"image_id": ["rex.jpg", "rex.png"], "label": ["d", "d"]}), vocabulary)
    classes = pd.DataFrame({"id": ["d", "q", "d"], "name": ["dog", "qwertz", "Dog"]})
    with (
        pytest.warns(UserWarning, match="mine: 'qwertz' became no category: unmatched name"),
        pytest.warns(UserWarning, match=r"occur more than once; the first row counts: d"),
    ):
        ml.build_vocabulary(classes={"mine": classes})


def test_a_category_is_looked_up_by_all_that_names_it(vocabulary: ml.Vocabulary) -> None:
    at = vocabulary.index_of_wnid[DOG]
    int_like: Any = np.int32(at)
    assert {vocabulary.index(key) for key in (DOG, "d", at, int_like, "domestic dog", "DOG")} == {at}
    assert vocabulary.category("house cat").wnid == CAT
    with pytest.raises(
        ml.MLImagesError,
        match=f"'crane' means several categories; .*({CRANES[0]}.*{CRANES[1]}|{CRANES[1]}.*{CRANES[0]})",
    ):
        vocabulary.index("crane")
    with pytest.raises(ml.MLImagesError, match="no category has the id or the name 'domestc dog'; did you mean 'dog"):
        vocabulary.index("domestc dog")
    with pytest.raises(ml.MLImagesError, match="there is no class 99; class indices are 0"):
        vocabulary.index(99)


def test_a_search_tells_every_sense_first_and_then_near_misses(vocabulary: ml.Vocabulary) -> None:
    found = vocabulary.search("crane")
    assert set(found["wnid"][:2]) == set(CRANES)
    assert set(found["by"][:2]) == {"name"}
    for text, by in ((DOG, "wnid"), ("d", "id of a class"), ("Felis domesticus", "name"), ("domestc dog", "near miss")):
        first = vocabulary.search(text).iloc[0]
        assert (first["by"], first["wnid"]) == (by, CAT if text.startswith("Felis") else DOG)
    assert len(vocabulary.search("a", limit=2)) <= 2
    assert vocabulary.search("").empty
    assert vocabulary.search("no such thing at all").empty


def test_relatives_are_those_of_the_graph_and_of_the_closure() -> None:
    import networkx as nx  # noqa: PLC0415 - one test's oracle

    vocabulary = ml.build_vocabulary(imagenet="packaged:imagenet11k.txt")
    graph = vocabulary.to_networkx()
    assert nx.is_directed_acyclic_graph(graph)
    assert len(vocabulary.roots) == 4
    assert {one.wnid for one in vocabulary.roots} == {node for node, above in graph.in_degree() if not above}
    frame = vocabulary.to_pandas().set_index("wnid")
    for wnid in frame.index[::500]:
        assert {one.wnid for one in vocabulary.ancestors(wnid)} == nx.ancestors(graph, wnid) | {wnid}
        assert {one.wnid for one in vocabulary.parents(wnid)} == set(graph.predecessors(wnid))
        assert {one.wnid for one in vocabulary.children(wnid)} == set(graph.successors(wnid))
        assert graph.nodes[wnid] == {
            "class_index": frame["class_index"][wnid],
            "name": frame["name"][wnid],
            "depth": frame["depth"][wnid],
        }
        at = vocabulary.index(wnid)
        assert int(vocabulary.closure[[at]].sum()) == len(vocabulary.ancestors(wnid))


def test_a_folder_that_holds_another_vocabulary_by_now_is_refused(tmp_path: Path) -> None:
    first = ml.build_vocabulary(imagenet=[DOG], out=tmp_path / "vocabulary")
    ml.build_vocabulary(imagenet=[CAT], out=tmp_path / "vocabulary", overwrite=True)
    with pytest.raises(ml.MLImagesError, match="the folder now holds another vocabulary; read it again"):
        ml.annotate(pd.DataFrame({"image_id": ["a"], "label": [DOG]}), first)


def test_a_vocabulary_that_no_folder_holds_can_be_used(shared_data: Path, tmp_path: Path) -> None:
    rows = (shared_data / "tencent" / "dictionary_first_9418.txt").read_text(encoding="utf-8")
    (tmp_path / "dictionary.txt").write_text(rows, encoding="utf-8")
    vocabulary = read_tencent_dictionary(tmp_path / "dictionary.txt")
    assert vocabulary.folder is None
    labels = ml.augment(pd.DataFrame({"image_id": ["a"], "label": [DOG]}), vocabulary)
    found = labels.to_pandas()
    assert set(found["wnid"]) == {one.wnid for one in vocabulary.ancestors(DOG)}


@pytest.mark.slow
def test_scratch_folders_go_with_their_results(tmp_path: Path) -> None:
    program = f"""
import tempfile, gc, os
tempfile.tempdir = {str(tmp_path)!r}
import pandas as pd
import mlimages_dataset as ml
vocabulary = ml.build_vocabulary(imagenet=["{DOG}"])
annotations = ml.annotate(pd.DataFrame({{"image_id": ["a"], "label": ["{DOG}"]}}), vocabulary)
assert len(os.listdir(tempfile.tempdir)) == 2, "one folder a result"
del annotations
gc.collect()
assert len(os.listdir(tempfile.tempdir)) == 1
try:
    ml.annotate(pd.DataFrame({{"image_id": ["a"], "label": ["z"]}}), vocabulary)
except ml.MLImagesError:
    pass
assert len(os.listdir(tempfile.tempdir)) == 1, "a call that fails leaves nothing"
"""
    subprocess.run([sys.executable, "-c", program], check=True)
    assert not list(tmp_path.iterdir()), "nothing is left when the process ends"


def test_importing_it_imports_nothing_heavy() -> None:
    heavy = "pandas", "pyarrow", "numpy", "scipy", "networkx", "torch", "numba"
    program = f"import sys, mlimages_dataset; sys.exit(any(name in sys.modules for name in {heavy}))"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_every_public_name_is_there_and_documented() -> None:
    for name in ml.__all__:
        assert name in dir(ml)
        assert inspect.getdoc(getattr(ml, name)), name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        ml.nothing  # type: ignore[attr-defined]  # noqa: B018 - the access is what is tried
    assert inspect.ismodule(ml.augment), "the package of the same name, which can be called"
