"""The vignettes for real models: counts, form, one foundation each (by a lexicon), both cues in a conflict item."""

from __future__ import annotations

import json
import re
from collections import Counter
from itertools import combinations
from pathlib import Path

import pytest

from ws.axes.axis_file import DATA, item_keys, text_key
from ws.gating.foundations import FOUNDATIONS

COUNTS = {"Care": 32, "Fairness": 17, "Loyalty": 16, "Authority": 17, "Sanctity": 17, "Liberty": 17, "SocialNorms": 16}
PREFIX = {**{name: name.lower() for name in FOUNDATIONS}, "SocialNorms": "norms"}
TEXTS = ("other_violate", "self_violate")

# Word beginnings that belong to one foundation: an item of another foundation must do without them.
LEXICON = {
    "Care": "hurt harm cruel pain suffer injur wound kick cry cries crying weep sob tears bruis bully mock starv "
    "neglect comfort kind tender gentle frighten ill sick dying fever bleed drown shiver",
    "Fairness": "fair unfair cheat steal stole thief equal favour bias bribe fake forge plagiar honest deserv rigged "
    "swindl overcharg discriminat insurer weigh merit cheap",
    "Loyalty": "loyal disloyal betray traitor team teammate country nation national family families clan desert "
    "comrade allegian patriot rival regiment fans",
    "Authority": "boss teacher headmaster police officer captain sergeant colonel general judge principal manager "
    "supervisor obey disobey order ordered orders command respect elder eldest chief mayor president king queen defy "
    "defies referee dean ranger",
    "Sanctity": "disgust filth dirty sacred holy church chapel temple altar shrine prayer corpse coffin grave sex porn "
    "incest urin vomit maggot rotten pure impure defil toilet naked manure skull slime scab unwashed statue",
    "Liberty": "free freedom forbid forbade forced forces coerc ban bans banning compel dictat oppress censor impos "
    "refuse insist tracker passport monitor pressur",
    "SocialNorms": "snorkel wetsuit convention manners etiquette odd weird eccentric backwards hen umbrella",
}
INNOCENT = {"painting"}  # begins like "pain"
CARE_CUE = (
    "sobbing bleed hungry shiver sick crying cry cries drown painkiller feverish trembling pain dying fainting whimper "
    "cramp disabled weakest panick burned frightened dizzy heart exhausted migraine lost screaming scar dog homesick "
    "bandage labour comfort fever weeping burning grieving swimmer starving grandfather injured choking lonely anxious "
    "coughing couple limping ill soothe faint friend distress help struggling terrified spare victim drifting rabbit"
)
AUTHORITY_CUE = (
    "doctor lieutenant headmaster manager sergeant coach captain supervisor court inspector warden father headquarters "
    "professor chief abbot director commander instructor mother matron consultant owner major superior harbour plant "
    "police teacher judge fire head colonel warden traffic headmistress pharmacist mayor leader priest controller "
    "parents engineer magistrate minister chef coastguard"
)


def rows(name: str) -> list[dict]:
    return [json.loads(line) for line in (DATA / "items" / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


def words(text: str) -> list[str]:
    return re.findall(r"[a-z]+", text.casefold())


def hits(text: str, stems: str) -> list[str]:
    """Words of the text that are a stem, or a stem of four letters or more with an ending."""
    found = [w for w in words(text) for s in stems.split() if w == s or (len(s) >= 4 and w.startswith(s))]
    return [w for w in found if w not in INNOCENT]


def similar(a: str, b: str) -> float:
    x, y = set(words(a)), set(words(b))
    return len(x & y) / len(x | y)


STANDARD, CONFLICT = rows("standard"), rows("conflict")
EVERY = [*STANDARD, *CONFLICT]


def test_counts() -> None:
    assert Counter(row["foundation"] for row in STANDARD) == COUNTS
    assert sum(COUNTS.values()) == len(STANDARD) == 132
    assert len(CONFLICT) >= 60
    assert Counter(row["foundation"] for row in CONFLICT) == {
        "Care": len(CONFLICT) // 2,
        "Authority": len(CONFLICT) // 2,
    }


def test_columns_and_ids() -> None:
    for row in STANDARD:
        assert list(row) == ["id", "foundation", *TEXTS, "label_source"]
    for row in CONFLICT:
        assert list(row) == ["id", "foundation", "cues", *TEXTS, "label_source"] and row["cues"] == [
            "Care",
            "Authority",
        ]
    assert {row["label_source"] for row in EVERY} == {"author"}
    assert [row["id"] for row in STANDARD] == [
        f"{PREFIX[f]}-{i:02d}" for f, n in COUNTS.items() for i in range(1, n + 1)
    ]
    assert len({row["id"] for row in EVERY}) == len(EVERY)


@pytest.mark.parametrize("row", EVERY, ids=lambda row: row["id"])
def test_form(row: dict) -> None:
    other, own = (row[column] for column in TEXTS)
    assert re.match(r"You see (a|an|two|the) \w+", other), other
    assert own.startswith("You ") and not own.startswith("You see "), own
    for text in (other, own):
        assert text.endswith(".") and text.count(".") == 1 and text == " ".join(text.split())
        assert '"' not in text and "{" not in text
        assert 7 <= len(words(text)) <= 32, text
    assert similar(other, own) > 0.25, "both conditions tell the same act"


def test_no_text_twice_and_no_near_doubles() -> None:
    texts = [row[column] for row in EVERY for column in TEXTS]
    assert len({text_key(text) for text in texts}) == len(texts) == 2 * len(EVERY)
    near = [
        (a["id"], b["id"]) for a, b in combinations(EVERY, 2) if similar(a["other_violate"], b["other_violate"]) > 0.5
    ]
    assert near == []


def test_openings_vary() -> None:
    actors = Counter(" ".join(words(row["other_violate"])[3:4]) for row in STANDARD)
    assert actors.most_common(1)[0][1] <= len(STANDARD) // 4, actors.most_common(3)
    assert len(actors) >= 50
    assert len({tuple(words(row["other_violate"])[3:5]) for row in CONFLICT}) >= 50


@pytest.mark.parametrize("row", STANDARD, ids=lambda row: row["id"])
def test_no_item_leans_on_another_foundation(row: dict) -> None:
    for foundation, stems in LEXICON.items():
        if foundation != row["foundation"]:
            for column in TEXTS:
                assert hits(row[column], stems) == [], f"{row[column]} has words of {foundation}"


def test_no_item_names_a_foundation_by_its_label() -> None:
    labels = {"care", "fairness", "loyalty", "authority", "sanctity", "liberty", "norms", "norm", "carer"}
    for row in EVERY:
        for column in TEXTS:
            assert not labels & set(words(row[column])), row[column]


@pytest.mark.parametrize("row", CONFLICT, ids=lambda row: row["id"])
def test_conflict_items_hold_both_cues(row: dict) -> None:
    for column in TEXTS:
        assert hits(row[column], CARE_CUE), f"no care cue in: {row[column]}"
        assert hits(row[column], AUTHORITY_CUE), f"no authority cue in: {row[column]}"


def test_ids_of_conflict_items_say_the_side() -> None:
    sides = {"obey": "Care", "help": "Authority"}
    assert all(sides[row["id"].split("-")[0]] == row["foundation"] for row in CONFLICT)


def test_the_lexicon_catches_what_it_should() -> None:
    assert hits("You see a man disobeying his captain.", LEXICON["Authority"]) == ["disobeying", "captain"]
    assert hits("You see a kind man.", LEXICON["Care"]) == ["kind"]
    assert hits("You see a woman painting a fence.", " ".join(LEXICON.values())) == []


def test_item_keys_know_every_text() -> None:
    keys = item_keys()
    assert all(text_key(row[column]) in keys for row in EVERY for column in TEXTS)
    assert {Path(where.split(":")[0]).suffix for where in keys.values()} == {".jsonl"}
