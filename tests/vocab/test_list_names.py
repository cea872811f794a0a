"""Names that lists write in their own way are read as dictionaries write them, and no other name is changed."""

from __future__ import annotations

import pytest

from mlimages_dataset.sources.classes import SourceClass
from mlimages_dataset.vocab.hierarchy import ROOTS
from mlimages_dataset.vocab.list_names import matches_of_list
from mlimages_dataset.vocab.matching import MatchContext
from mlimages_dataset.vocab.wordnet import load_wordnet

PATHS = ("vehicle.zxqv", "vehicle.zxqw", "human.zxqv", "human.zxqw", "human.zxqx")


def read(*names: str) -> list[str]:
    """Return how the names of a list are read."""
    none: frozenset[str] = frozenset()
    context = MatchContext(wordnet=load_wordnet(), imagenet=none, imagenet_all=none, roots=ROOTS, box_parents={})
    classes = [SourceClass(str(number), name) for number, name in enumerate(names)]
    found = matches_of_list(classes, context, {})
    return [found[one.source_id].source_class.name for one in classes]


AS_READ = {
    "windowpane, window": "windowpane (window)",
    "sofa, couch, lounge": "sofa (couch)",
    "person, individual, someone, somebody": "person (individual)",
    "ashcan; trash can": "ashcan (trash can)",
    "couch/sofa": "couch (sofa)",
    "toilet, can, commode, crapper, pot": "toilet (commode)",
    "bank [building]": "bank (building)",
    "Spade: tool": "Spade (tool)",
    "Club - playing card": "Club (playing card)",
    "animal: dog": "dog (animal)",
    "vehicle.bicycle": "bicycle (vehicle)",
    "human.pedestrian.police_officer": "police_officer",
    "Red Fox (Vulpes vulpes)": "Vulpes vulpes",
    "Common Buzzard (Buteo buteo)": "Buteo buteo",
    "Swift [Apus apus]": "Apus apus",
}


def test_a_name_is_read_as_a_noun() -> None:
    found = read(*AS_READ, *PATHS)
    assert dict(zip(AS_READ, found, strict=False)) == AS_READ


OTHERS = (
    "dog", "golden retriever", "Jaguar (car)", "x-ray", "forget-me-not", "St. Bernard", "jack-in-the-box",
    "person, sitting", "tree, broken", "dog, none", "cats, dogs", "C++", "a+b", "3.5 inch disk", "v1.2",
    "Red Fox (no fox)", "Somebody (New arrival)", "zxqv+zxqw", "no.dog-zxqv", "N/A", "dog/cat", "indoor/kitchen",
    "e.g", ",", "/", "[dog]", ": dog",
    # English words in brackets, and things made of a species
    "Violin (Musical instrument)", "Blender (Kitchen appliance)", "Sedan (Motor vehicle)", "Spider (Garden spider)",
    "Toy (Polar bear)", "Table (Vitis vinifera)", "oak leaf (Quercus robur)", "cat food (Felis catus)",
    # dots for blanks, and names with dots
    "ice.cream", "cell.phone", "teddy.bear", "wine.glass", "guinea.pig", "parking.meter", "St.Bernard",
    "Papa.Johns", "Burger.King", "Mr.Bean", "asp.net", "README.md", "Game.of.Thrones", "dog.no",
    # several things, places, states
    "taxi/cab/bus", "bus, coach, train", "Kitchen: fork", "Road: pothole", "Pets: dog", "Dog: Labrador",
    "helmet - not worn", "seat belt: not fastened", "No: helmet", "t - shirt", "x - ray", "sea - horse",
    "horse+cart", "wheel 3.5", "watch-101",
)  # fmt: skip


def test_other_names_stay_as_they_are() -> None:
    assert read(*OTHERS, *PATHS)[: len(OTHERS)] == list(OTHERS)


def test_what_may_be_an_accident_is_read_if_several_names_of_the_list_have_it() -> None:
    assert read("watch-101", "brain-101", "electric-guitar-101") == ["watch", "brain", "electric-guitar"]
    assert read("watch-101", "brain-101", "boeing-747") == ["watch-101", "brain-101", "boeing-747"]
    assert read("watch_1", "watch_2", "watch_3") == ["watch_1", "watch_2", "watch_3"]
    assert read("grizzly+bear", "killer+whale", "polar+bear") == ["grizzly bear", "killer whale", "polar bear"]
    assert read("grizzly+bear", "dog") == ["grizzly+bear", "dog"]
    assert read("flat.road", "flat.sidewalk", "flat.terrain")[1] == "sidewalk"


def test_scenes_are_read_without_their_letter_and_with_the_side_in_brackets() -> None:
    shelved = ("/a/abbey", "/a/airplane_cabin", "/c/church/indoor", "/f/field/wild", "/z/zxqv")
    assert read(*shelved) == ["abbey", "airplane_cabin", "church (indoor)", "field (wild)", "zxqv"]
    assert read(*(name[1:] for name in shelved)) == read(*shelved)
    assert read(*shelved[:2]) == list(shelved[:2])
    sides = ("church-indoor", "church_outdoor", "swimming pool/Outdoor", "kitchen")
    assert read(*sides) == ["church (indoor)", "church (outdoor)", "swimming pool (Outdoor)", "kitchen"]
    assert read(*sides[:2]) == list(sides[:2])


def test_what_only_looks_like_a_shelf_or_a_side_stays() -> None:
    names = (
        "b/w",
        "n/a",
        "a/c",
        "w/o",
        "a/b/c",
        "x/ray",
        "/a",
        "indoor",
        "outdoor kitchen",
        "great outdoors",
        "/a/b/c/d",
    )
    assert read(*names) == list(names)


THINGS = ("dog", "House_Sparrow", "traffic light", "polar-bear", "horse", "cat", "zxqv", "cow")
COUNTED = (
    "{at:03d}.{name}", "class_{at:02d}_{name}", "Class {at} {name}", "{at}_{name}", "{at}. {name}", "{at}) {name}",
    "{at:02d} {name}", "{at:02d}-{name}", "n{at}_{name}", "c{at}: {name}", "{name}_{at}", "{name}-{at:02d}",
    "{name} {at}",
)  # fmt: skip


@pytest.mark.parametrize("written", COUNTED)
def test_numbers_that_count_the_names_of_a_list_are_no_part_of_them(written: str) -> None:
    names = [written.format(at=at, name=name) for at, name in enumerate(THINGS)]
    assert read(*names) == [name if "zxqv" in name else thing for name, thing in zip(names, THINGS, strict=True)]


def test_numbers_of_a_few_names_of_a_list_stay() -> None:
    names = [f"{at}_{name}" for at, name in enumerate(THINGS)]
    others = [f"zxqv{chr(97 + at) * 3}" for at in range(len(names) + 1)]
    assert read(*names, *others)[: len(names)] == names


@pytest.mark.parametrize(
    "names",
    [
        ("2 dogs", "3 cats", "4 birds"),
        ("2-door", "4-door", "5-door"),
        ("2-seater", "3-wheeler", "4-poster"),
        ("1_dog", "1_cat", "1_bird"),
        ("boeing_747", "falcon_900", "hawk_1", "tornado_2"),
        ("3d_printer", "4k_monitor", "5g_phone"),
        ("90s car", "80s car", "70s car"),
        ("1.5 l bottle", "2.0 l bottle", "3.0 l bottle"),
        ("x-ray 1", "x-ray 2", "x-ray 3"),
        ("00_no dog", "01_no cat", "02_no bird"),
    ],
)
def test_numbers_that_say_how_many_or_which_model_stay(names: tuple[str, ...]) -> None:
    assert read(*names) == list(names)
