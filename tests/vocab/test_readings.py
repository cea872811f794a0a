"""Readings of class names are facts about WordNet's synsets, and yield to what a list or a person says."""

from __future__ import annotations

import csv
from collections import Counter
from dataclasses import replace
from importlib.resources import files
from typing import TYPE_CHECKING

import pandas as pd
import pytest

import mlimages_dataset as ml
from mlimages_dataset.sources.classes import SourceClass
from mlimages_dataset.vocab.elsewhere import ReadElsewhere
from mlimages_dataset.vocab.normalisation import parse_name
from mlimages_dataset.vocab.readings import Agreement, Reading, Readings, packaged_readings
from mlimages_dataset.vocab.reviewed import packaged_reviewed, parse_reviewed
from mlimages_dataset.vocab.sense_features import ancestors
from mlimages_dataset.vocab.vocabulary import OPEN_IMAGES
from mlimages_dataset.vocab.wordnet import load_wordnet

if TYPE_CHECKING:
    from pathlib import Path

READINGS = tuple(packaged_readings().by_id.values())


def test_every_row_names_a_noun_and_what_its_readings_say() -> None:
    wordnet = load_wordnet()
    known = wordnet.index_of_wnid
    for row in READINGS:
        answers = [answer.lstrip("<") for answer in row.readings]
        assert (row.relation == "drop") is (not row.wnid)
        assert set(answers) - {"-"} <= known.keys(), row
        assert row.reason
        if len(row.readings) > 2 or row.readings[0] == row.readings[1]:
            assert row.readings[-1] == {"exact": "", "narrower": "<", "drop": "-"}[row.relation] + row.wnid
        else:
            above = ancestors(wordnet, known[answers[0]]) | ancestors(wordnet, known[answers[1]])
            assert row.relation == "narrower"
            assert row.wnid in answers
            assert known[row.wnid] in above


def test_readings_agree_more_often_than_not_and_no_id_is_read_twice() -> None:
    found = Agreement.of(READINGS)
    assert found.agree + found.broader + found.third == found.names == len(READINGS) > 8000
    assert found.agree > 0.85 * found.names
    assert max(Counter((row.source, row.source_id) for row in READINGS).values()) == 1


def test_readings_rarely_contradict_what_people_decided() -> None:
    # Decisions by hand win; the readers did not see them. Six were written down because the readings differ.
    decided = {
        (row.source, row.source_id): (row.wnid, row.broader)
        for row in parse_reviewed(packaged_reviewed(), "reviewed.toml").matches
    }
    both = [(decided[key], row) for key, row in packaged_readings().by_id.items() if key in decided]
    same = [row for (wnid, broader), row in both if (row.wnid, row.relation == "narrower") == (wnid, broader)]
    assert len(same) > 0.75 * len(both) > 50


@pytest.mark.parametrize(
    ("source", "given", "wnid"),
    [
        ("coco", "hot dog", "n07697537"),
        ("COCO's own", "hot dog", None),
        ("lvis", "Bow_(Weapon)", "n02879718"),
        ("voc", "Potted Plant", "n11536230"),
        ("voc", "pottedplant", "n11536230"),
        ("VOC", "diningtable", "n03201208"),
        ("objects365", "life saver", "n03662719"),
        ("places365", "alley", "n02697759"),
    ],
)
def test_a_name_is_known_by_its_collection_whatever_its_case(source: str, given: str, wnid: str | None) -> None:
    found = packaged_readings().matches(source, [SourceClass("17", given)])
    assert (found["17"].wnid if found else None) == wnid


@pytest.mark.parametrize(
    ("source_id", "name", "wnid"),
    [
        ("/m/018gzr", "Sōmen", "n07699584"),  # noodle, not the nerve agent
        ("/m/03dj64", "Black cat", "n02121808"),  # domestic cat, not the fisher
        ("/m/02w7c7", "ragdoll", "n02121808"),  # domestic cat, not the rag doll
        ("/m/0gh7hc0", "Sea snail", "n01944390"),  # snail, not the snailfish
        ("/m/0250zy", "Brussels sprout", "n07715221"),  # the vegetable, not the plant
        ("/m/0h5y1j0", "Toyota", "n03791235"),  # motor vehicle, not the city
        ("/m/02gy5l", "pilates", "n00624738"),  # exercise, not Pontius Pilate
        ("/m/06d4gr", "Hoe (Food)", "n07557434"),  # dish, not the tool
        ("/m/0hg6h", "Compact cassette", "n02756977"),  # audiocassette, not any cassette
    ],
)
def test_a_class_of_open_images_is_not_what_its_name_happens_to_spell(source_id: str, name: str, wnid: str) -> None:
    found = packaged_readings().matches(OPEN_IMAGES, [SourceClass(source_id, name)])
    assert found[source_id].wnid == wnid


@pytest.mark.shared_data
def test_a_class_means_the_same_in_two_lists_that_name_it_differently(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "open_images"
    names = [
        dict(row[:2] for row in csv.reader((folder / file).read_text("utf-8").splitlines()))
        for file in ("dict_v1.csv", "class_descriptions_v6.csv")
    ]
    older, later = names
    renamed = [one for one in older if one in later and older[one].lower() != later[one].lower()]
    meant = []
    for number, named in enumerate(names):
        path = tmp_path / f"{number}.csv"
        frame = pd.DataFrame({"LabelName": renamed, "DisplayName": [named[one] for one in renamed]})
        frame.to_csv(path, index=False)
        rows = ml.build_vocabulary(open_images=str(path)).mapping
        meant.append({row.source_id: (row.wnid, row.is_broader) for row in rows})
    assert len(renamed) > 300
    assert {one: [what[one] for what in meant] for one in renamed if meant[0][one] != meant[1][one]} == {}


def _as_files_write(row: Reading) -> set[str]:
    """Return how files of a collection write a name: with other marks, below its first letter, or in one word."""
    base, qualifier = parse_name(row.name).base, parse_name(row.name).qualifier
    words = base.replace(" ", "_")
    forms = {row.name, row.source_id, row.name.upper(), row.name.replace(" ", "_"), row.name.replace(" ", "")}
    if qualifier:
        forms |= {f"{words}/{qualifier}", f"{words}-{qualifier}", f"{base} {qualifier}"}
    if "/" not in row.name and words[0].isascii():
        forms.add(f"/{words[0]}/{words}" + f"/{qualifier.replace(' ', '_')}" * bool(qualifier))
    return forms


def test_a_collections_name_means_the_same_however_its_files_write_it() -> None:
    readings = packaged_readings()
    for row in READINGS:
        if row.source == "open-images":
            continue
        for source in (row.source, row.source.upper()):
            classes = [SourceClass(str(at), name) for at, name in enumerate(sorted(_as_files_write(row)))]
            found = readings.matches(source, classes)
            assert len(found) == len(classes), (row, classes)
            assert {(one.wnid, one.broader) for one in found.values()} == {(row.wnid, row.relation == "narrower")}, row


def test_packaged_lists_of_voc_and_readings_of_its_names_agree() -> None:
    text = (files("mlimages_dataset.vocab") / "data" / "voc.csv").read_text("utf-8")
    listed = {row["id"]: row["wnid"] for row in csv.DictReader(text.splitlines())}
    found = packaged_readings().matches("voc", [SourceClass(name, name) for name in listed])
    differ = {name: (wnid, found[name].wnid) for name, wnid in listed.items() if found[name].wnid != wnid}
    assert not differ


def test_what_a_list_says_wins_over_a_reading() -> None:
    readings = packaged_readings()
    one = SourceClass("17", "hot dog")
    assert readings.matches("coco", [one])
    for said in ({"wnid": "n07690273"}, {"parent": "n07690273"}, {"synset": "frank.n.02"}):
        assert not readings.matches("coco", [replace(one, **said)])


def test_a_vocabulary_takes_them_and_says_so() -> None:
    frame = pd.DataFrame({"id": ["motorbike", "horse", "pottedplant"], "name": ["motorbike", "horse", "pottedplant"]})
    rows = ml.build_vocabulary(classes={"voc": frame}).to_pandas("mapping").to_dict("records")
    mapping = {row["source_name"]: row for row in rows}
    assert mapping["motorbike"]["wnid"] == "n03790512"
    assert mapping["horse"]["evidence"].endswith("readings agree)")
    assert mapping["pottedplant"]["class_index"] >= 0


def test_evidence_says_how_far_readings_agree() -> None:
    row = Reading("coco", "a", "a", "exact", "n1", ("n1", "n1"), "an animal")
    assert row.evidence == "an animal (2 of 2 readings agree)"
    assert replace(row, readings=("n1", "n2", "n1")).evidence == "an animal (2 of 3 readings agree)"
    assert replace(row, readings=("n2", "n2", "n1")).evidence == "an animal (1 of 3 readings agree)"
    assert (
        replace(row, relation="narrower", readings=("<n1", "<n2")).evidence == "an animal (the broader of two readings)"
    )


@pytest.mark.filterwarnings("ignore::UserWarning")  # of what is kept as its parent
def test_a_name_of_a_users_list_means_what_other_collections_read_unless_the_list_says_another_thing() -> None:
    names = ["tv", "potted plant", "Toyota Corolla", "mouse", "keyboard", "couch"]
    frame = pd.DataFrame({"id": [str(at) for at in range(len(names))], "name": names})
    rows = {row.source_name: row for row in ml.build_vocabulary(classes={"mine": frame}, attach=True).mapping}
    assert rows["tv"].wnid == "n04405907"  # the set, not the broadcasts
    assert (rows["potted plant"].wnid, rows["potted plant"].is_broader) == ("n00017222", True)
    assert (rows["Toyota Corolla"].wnid, rows["Toyota Corolla"].is_broader) == ("n02958343", True)
    assert "so it was read in coco, objects365" in rows["potted plant"].evidence
    stated = ml.build_vocabulary(classes={"mine": frame.assign(wnid=["n06277280", "", "", "", "", ""])})
    assert {row.source_name: row.wnid for row in stated.mapping}["tv"] == "n06277280"
    birds = ["crane", "swift", "kite", "heron", "robin", "swallow", "duck", "goose", "eagle", "owl", "hawk", "stork"]
    flock = pd.DataFrame({"id": birds, "name": birds})
    rows = {row.source_name: row for row in ml.build_vocabulary(classes={"birds": flock}).mapping}
    assert rows["crane"].wnid == "n02012849"


def test_elsewhere_is_what_most_collections_read_and_nothing_where_they_are_divided() -> None:
    def read(source: str, name: str, wnid: str, relation: str = "exact") -> Reading:
        return Reading(source, f"{source} {name} {wnid}", name, relation, wnid, (wnid, wnid), "")

    rows = [
        *(read(source, "Mouse", "n03793489") for source in ("a", "b")),
        read("c", "mouse", "n02330245"),
        *(read(source, "tie", wnid) for source, wnid in (("a", "n04433959"), ("b", "n03815615"))),
        read("a", "stop sign", "n06794110", "narrower"),
        read("a", "thing", "", "drop"),
    ]
    found = Readings({(row.source, row.source_id): row for row in rows}, {}).elsewhere
    assert found == {
        parse_name("mouse"): ReadElsewhere("n03793489", False, ("a", "b")),
        parse_name("stop sign"): ReadElsewhere("n06794110", True, ("a",)),
    }


@pytest.mark.filterwarnings("ignore::UserWarning")  # of what is kept as its parent
def test_things_and_people_that_wordnet_files_as_abstract_are_below_their_root(tmp_path: Path) -> None:
    person, artifact, food, animal, plant = "n00007846", "n00021939", "n00021265", "n00015388", "n00017222"
    seen = {
        "Truck driver": ("/m/05d2m7", person),
        "Bus driver": ("/m/0bk5m9", person),
        "Railroad engineer": ("/m/0899pd", person),
        "Banknote": ("/m/01dl3j", artifact),
        "Dollar": ("/m/0285v", artifact),
        "Debit card": ("/m/02h5d", artifact),
        "Gold medal": ("/m/02lpp7", artifact),
        "Postcard": ("/m/0fd4f", artifact),
        "Sticker": ("/m/05b97g", artifact),
        "Metro": ("/m/0195fx", artifact),
        "Panko": ("/m/0c1vsn", food),
        "Chicken thighs": ("/m/0k5stv1", food),
        "Dim sum": ("/m/0pmbh", food),
        "Barramundi": ("/m/02kq13", animal),
        "Cucumber, gourd, and melon family": ("/m/01wdp", plant),
    }
    path = tmp_path / "classes.csv"
    frame = pd.DataFrame([(source_id, name) for name, (source_id, _) in seen.items()])
    frame.to_csv(path, index=False, header=["LabelName", "DisplayName"])
    roots = pd.DataFrame({"id": [person, artifact, food, animal, plant], "name": "root"})
    vocabulary = ml.build_vocabulary(open_images=str(path), classes={"roots": roots})
    for row in vocabulary.mapping:
        if row.source == OPEN_IMAGES:
            above, at = [row.wnid], 0
            while at < len(above):
                above += [one.wnid for one in vocabulary.parents(above[at])]
                at += 1
            assert seen[row.source_name][1] in above, row
