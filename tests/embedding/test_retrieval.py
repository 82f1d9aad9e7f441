"""The neighbour is the nearest by cosine among those that the labels allow."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_virtualstain.embedding.retrieval import cosine, retrieve
from napari_virtualstain.errors import PixelDataError

N = 10
names = st.lists(st.sampled_from("abc"), min_size=N, max_size=N)
features = arrays(np.float64, (N, 3), elements=st.floats(-5, 5).map(lambda x: round(x, 1)))


def angle(one, other):
    both = np.isfinite(one) & np.isfinite(other)
    one, other = one[both], other[both]
    lengths = np.linalg.norm(one) * np.linalg.norm(other)
    return one @ other / lengths if lengths > 0 else np.nan


def twin(profiles, classes, *not_same):
    """One profile after the other."""
    asked, hits = [], []
    for i in range(len(profiles)):
        allowed = [
            j
            for j in range(len(profiles))
            if j != i
            and not np.isnan(angle(profiles[i], profiles[j]))
            and all(labels[i] != labels[j] for labels in not_same)
        ]
        asked.append(any(classes[j] == classes[i] for j in allowed))
        angles = {j: angle(profiles[i], profiles[j]) for j in allowed}
        best = [j for j in allowed if angles[j] > max(angles.values()) - 1e-9]
        # Profiles that are equally near are equally right.
        hits.append({classes[j] == classes[i] for j in best})
    return asked, hits


@given(features, names, names, names)
def test_it_is_what_a_loop_finds(profiles, classes, compounds, batches):
    found = retrieve(profiles, classes, compounds, batches)
    asked, hits = twin(profiles, classes, compounds, batches)
    assert found.asked.tolist() == asked
    for hit, possible, was_asked in zip(found.hits, hits, asked, strict=True):
        assert hit in possible if was_asked else not hit


@given(features, names, names)
def test_no_neighbour_shares_an_excluded_label(profiles, classes, compounds):
    found = retrieve(profiles, classes, compounds)
    for i, j in enumerate(found.neighbours):
        assert j == -1 or compounds[i] != compounds[j]


@given(features, names, names, st.floats(0.1, 100))
def test_the_length_of_profiles_does_not_matter(profiles, classes, compounds, factor):
    scaled = profiles.copy()
    scaled[::2] *= factor
    np.testing.assert_allclose(cosine(scaled), cosine(profiles), atol=1e-9)


def test_not_same_batch_finds_biology_where_batches_look_alike():
    # Two mechanisms (last axis) in two batches (first axis) that look more alike than mechanisms.
    profiles = np.array([[9.0, 1], [9, -1], [-9, 1], [-9, -1]])
    mechanisms, compounds, batches = ["p", "q", "p", "q"], [1, 2, 3, 4], ["A", "A", "B", "B"]
    assert retrieve(profiles, mechanisms, compounds).accuracy == 0
    assert retrieve(profiles, mechanisms, compounds, batches).asked.all()
    assert retrieve(profiles[:, 1:], mechanisms, compounds, batches).accuracy == 1


def test_a_class_of_one_compound_is_not_asked():
    profiles = np.array([[1, 0], [1, 0.1], [0, 1], [0.1, 1]])
    found = retrieve(profiles, ["p", "p", "q", "q"], [1, 2, 3, 3])
    assert found.asked.tolist() == [True, True, False, False]
    assert found.by_class() == {"p": 1.0}


def test_chance_is_the_share_of_the_class_among_those_allowed():
    rng = np.random.default_rng(0)
    classes, compounds = list("ppqqqq"), [1, 2, 3, 4, 5, 5]
    chance = retrieve(rng.normal(size=(6, 4)), classes, compounds).chance
    # p: 1 of 5; q of compounds 3 and 4: 3 of 5; of compound 5: 2 of 4.
    assert chance == pytest.approx((2 * 1 / 5 + 2 * 3 / 5 + 2 * 2 / 4) / 6)
    drawn = [retrieve(rng.normal(size=(6, 9)), classes, compounds).accuracy for _ in range(3000)]
    assert np.mean(drawn) == pytest.approx(chance, abs=0.02)


def test_profiles_are_compared_by_the_channels_that_both_have():
    profiles = np.array([[1, 0, np.nan, np.nan], [2, 0, 5, 1], [0, 3, 5, 1]])
    similar = cosine(profiles)
    assert similar[0, 1] == pytest.approx(1)
    assert similar[0, 2] == 0
    assert similar[1, 2] == pytest.approx(26 / np.sqrt(30 * 35))


def test_a_profile_without_features_is_nobodys_neighbour():
    profiles = np.array([[1.0, 0], [np.nan, np.nan], [0, 1]])
    found = retrieve(profiles, ["p", "p", "p"], [1, 2, 3])
    assert found.neighbours.tolist() == [2, -1, 0]
    assert found.asked.tolist() == [True, False, True]


@pytest.mark.parametrize("labels", [[["a"], [1]], [["a", "b"], [1]]], ids=["one", "too few"])
def test_labels_that_do_not_fit_are_refused(labels):
    with pytest.raises(PixelDataError, match="a label for each"):
        retrieve(np.ones((len(labels[0]), 2)), *labels)
