from hypothesis import assume, given
from hypothesis import strategies as st

from gateway.registry.matching import matches, normalised_name
from gateway.registry.resident import Resident
from gateway.vocabulary import NAME_FIELDS, RESIDENT_FIELDS

words = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ'", min_size=1, max_size=9)
names = st.lists(words, min_size=1, max_size=4).map(" ".join)
anything = st.text(max_size=40)
floors = st.floats(0, 1)
fields = st.sampled_from(RESIDENT_FIELDS)
titles_before = st.sampled_from(["Dr. ", "H. ", "Prof. Dr. ", "Drs. ", "R. ", "Ny. "])
titles_after = st.sampled_from([", S.H.", " S.Kom.", ", M.M., Ph.D.", " S.E.", ", Lc."])


def is_so(field: str, held: str, claim: str, floor: float) -> bool:
    return matches(Resident.from_fields({field: held}), {field: claim}, floor)[field]


def is_title(word: str) -> bool:
    return normalised_name(f"{word}. X") == "X" or normalised_name(f"X, {word}") == "X"


@given(fields, anything, anything, floors, floors)
def test_a_higher_floor_never_turns_a_no_into_a_yes(
    field: str, held: str, claim: str, one: float, other: float
) -> None:
    low, high = sorted((one, other))
    assert is_so(field, held, claim, low) or not is_so(field, held, claim, high)


@given(fields, anything)
def test_what_the_registry_says_is_so_unless_it_says_nothing(
    field: str, value: str
) -> None:
    says_nothing = not is_so(field, value, value, 0.0)
    assert is_so(field, value, value, 1.0) or says_nothing
    assert not says_nothing or not any(letter in value for letter in "ABC123")


@given(st.sampled_from(sorted(NAME_FIELDS)), anything, anything, floors)
def test_likeness_of_names_has_no_direction(
    field: str, one: str, other: str, floor: float
) -> None:
    assert is_so(field, one, other, floor) == is_so(field, other, one, floor)


@given(
    fields.filter(lambda field: field not in NAME_FIELDS), anything, anything, floors
)
def test_the_floor_is_for_names_alone(
    field: str, held: str, claim: str, floor: float
) -> None:
    assert is_so(field, held, claim, floor) == is_so(field, held, claim, 1.0)


@given(names, titles_before, titles_after)
def test_titles_never_change_a_name(name: str, before: str, after: str) -> None:
    plain = normalised_name(name)
    # Whoever is called what a title is called cannot be told from one.
    assume(plain and not any(is_title(word) for word in plain.split()))
    assert normalised_name(f"{before}{name}{after}") == plain


@given(anything)
def test_a_normalised_name_is_words_in_capitals_with_single_spaces(name: str) -> None:
    plain = normalised_name(name)
    assert plain == " ".join(plain.split())
    assert all(letter.isalnum() or letter == " " for letter in plain)


@given(st.lists(fields, unique=True), floors)
def test_each_claim_gets_its_answer_in_the_order_given(
    claimed: list[str], floor: float
) -> None:
    claims = dict.fromkeys(claimed, "1")
    resident = Resident.from_fields(claims)
    assert list(matches(resident, claims, floor).items()) == [
        (field, True) for field in claimed
    ]
