from typing import Any

import pytest

from gateway.partners import terms
from gateway.problems import Fault, NotFound
from gateway.vocabulary import Actor, Limits

PURPOSES = {"kyc": 1, "treatment": 2}
GRANT = {"purpose": "kyc", "operations": ["verify", "batch"], "fields": ["name"]}
LIMITS = {"rate": 10, "burst": 20, "day": 300, "month": 4000}


def grant_faults(value: object) -> list[str]:
    faults: list[Fault] = []
    terms.read_grants(value, PURPOSES, faults)
    return [fault.pointer for fault in faults]


def limit_faults(value: object) -> list[str]:
    faults: list[Fault] = []
    terms.read_limits(value, faults)
    return [fault.pointer for fault in faults]


def test_a_grant_is_read_into_numbers_and_bits() -> None:
    faults: list[Fault] = []
    read = terms.read_grants([GRANT], PURPOSES, faults)
    assert (read, faults) == ([(1, 0b101, 0b100, 0.9)], [])


def test_the_name_similarity_of_a_grant_is_the_gateways_to_set() -> None:
    faults: list[Fault] = []
    (read,) = terms.read_grants([GRANT | {"name_similarity": 1}], PURPOSES, faults)
    assert (read.name_similarity, faults) == (1, [])


@pytest.mark.parametrize("value", [None, {}, "kyc", 5, []])
def test_an_agreement_has_at_least_one_grant(value: object) -> None:
    assert grant_faults(value) == ["/grants"]


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"purpose": "espionage"}, "/grants/0/purpose"),
        ({"purpose": None}, "/grants/0/purpose"),
        ({"purpose": ["kyc"]}, "/grants/0/purpose"),
        ({"operations": []}, "/grants/0/operations"),
        ({"operations": "verify"}, "/grants/0/operations"),
        ({"operations": ["verify", "delete"]}, "/grants/0/operations/1"),
        ({"fields": None}, "/grants/0/fields"),
        ({"fields": ["name", "kk", "salary"]}, "/grants/0/fields/2"),
        ({"fields": [{}]}, "/grants/0/fields/0"),
        ({"name_similarity": 0.49}, "/grants/0/name_similarity"),
        ({"name_similarity": 1.01}, "/grants/0/name_similarity"),
        ({"name_similarity": True}, "/grants/0/name_similarity"),
        ({"name_similarity": "0.9"}, "/grants/0/name_similarity"),
        ({"name_similarity": float("nan")}, "/grants/0/name_similarity"),
        ({"colour": "red"}, "/grants/0"),
    ],
)
def test_what_is_wrong_with_a_grant_is_pointed_at(
    change: dict[str, Any], pointer: str
) -> None:
    assert grant_faults([GRANT | change]) == [pointer]


def test_all_faults_of_all_grants_are_said_at_once() -> None:
    wrong = {"purpose": "x", "operations": ["x"], "fields": ["name", "x"]}
    assert grant_faults([GRANT, wrong, 5]) == [
        "/grants/1/purpose",
        "/grants/1/operations/0",
        "/grants/1/fields/1",
        "/grants/2",
    ]


def test_a_purpose_is_granted_once() -> None:
    other = GRANT | {"purpose": "treatment"}
    assert grant_faults([GRANT, other, GRANT]) == ["/grants/2/purpose"]


def test_what_was_sent_is_never_repeated() -> None:
    sent = "3171014501900001"
    faults: list[Fault] = []
    wrong = {"purpose": sent, "operations": [sent], "fields": [sent], sent: sent}
    terms.read_grants([wrong], PURPOSES, faults)
    terms.read_limits({sent: sent}, faults)
    terms.read_networks([sent], faults)
    terms.read_role(sent, faults)
    terms.read_status(sent, faults)
    assert len(faults) == 12
    assert sent not in repr(faults)


def test_limits_are_read() -> None:
    faults: list[Fault] = []
    assert terms.read_limits(LIMITS, faults) == Limits(10, 20, 300, 4000)
    assert faults == []


@pytest.mark.parametrize("value", [0, -1, 10**6 + 1, 1.0, "10", True, None])
def test_a_limit_is_a_whole_number_within_bounds(value: object) -> None:
    assert limit_faults(LIMITS | {"rate": value}) == ["/limits/rate"]


def test_missing_and_unknown_limits_are_pointed_at() -> None:
    assert limit_faults({"week": 1, "rate": 1}) == [
        "/limits",
        "/limits/burst",
        "/limits/day",
        "/limits/month",
    ]
    assert limit_faults([1, 2, 3, 4]) == ["/limits"]


def test_a_limit_left_out_of_a_change_stays_what_it_is() -> None:
    faults: list[Fault] = []
    now = Limits(10, 20, 300, 4000)
    assert terms.read_limits({"day": 20}, faults, current=now) == (10, 20, 20, 4000)
    assert faults == []


def test_an_agreement_ends_after_it_begins() -> None:
    faults: list[Fault] = []
    terms.read_span(5, 6, faults)
    assert faults == []
    terms.read_span(5, 5, faults)
    assert [fault.pointer for fault in faults] == ["/to"]


@pytest.mark.parametrize("value", [None, []])
def test_no_networks_is_anywhere(value: object) -> None:
    faults: list[Fault] = []
    assert (terms.read_networks(value, faults), faults) == ([], [])


def test_networks_are_read() -> None:
    faults: list[Fault] = []
    sent = ["203.0.113.0/24", "198.51.100.7", "2001:db8::/32"]
    read = [str(network) for network in terms.read_networks(sent, faults)]
    assert read == ["203.0.113.0/24", "198.51.100.7/32", "2001:db8::/32"]
    assert faults == []


@pytest.mark.parametrize(
    "wrong",
    ["203.0.113.7/24", "10.0.0.0/33", "here", "", 5, None, "::ffff:203.0.113.0/120"],
)
def test_what_is_no_network_is_pointed_at(wrong: object) -> None:
    faults: list[Fault] = []
    terms.read_networks(["10.0.0.0/8", wrong], faults)
    assert [fault.pointer for fault in faults] == ["/cidrs/1"]


def test_an_allow_list_is_a_list() -> None:
    faults: list[Fault] = []
    terms.read_networks("10.0.0.0/8", faults)
    assert [fault.pointer for fault in faults] == ["/cidrs"]


@pytest.mark.parametrize("name", ["", "   ", "a" * 201, "a\x00b", "a\nb", 5, None])
def test_a_name_is_printable_and_not_endless(name: object) -> None:
    assert_name_is_refused(name)


@pytest.mark.parametrize("name", ["dr. 3171014501900001", "Bank gdk_live_Ab3dE6gHx"])
def test_a_name_holds_neither_a_nik_nor_a_key(name: object) -> None:
    assert_name_is_refused(name)


def assert_name_is_refused(name: object) -> None:
    faults: list[Fault] = []
    terms.read_name(name, faults)
    assert [fault.pointer for fault in faults] == ["/name"]


def test_a_name_is_read_without_the_blanks_around_it() -> None:
    faults: list[Fault] = []
    assert (terms.read_name("  Bank Contoh ", faults), faults) == ("Bank Contoh", [])


@pytest.mark.parametrize("role", ["auditor", "ops", "admin"])
def test_staff_have_one_of_three_roles(role: str) -> None:
    faults: list[Fault] = []
    assert terms.read_role(role, faults).word == role
    assert faults == []


@pytest.mark.parametrize("role", ["institution", "unidentified", "Admin", None, 4])
def test_other_roles_are_pointed_at(role: object) -> None:
    faults: list[Fault] = []
    assert terms.read_role(role, faults) is Actor.UNIDENTIFIED
    assert [fault.pointer for fault in faults] == ["/role"]


@pytest.mark.parametrize("status", ["ended", None, 1, ["active"]])
def test_an_agreement_is_active_or_suspended(status: object) -> None:
    faults: list[Fault] = []
    assert terms.read_status("active", faults) == "active"
    assert faults == []
    terms.read_status(status, faults)
    assert [fault.pointer for fault in faults] == ["/status"]


@pytest.mark.parametrize("number", [0, -1, 2**31, 2**70])
def test_an_id_no_row_can_have_is_not_found(number: int) -> None:
    assert terms.require_id(2**31 - 1) == 2**31 - 1
    with pytest.raises(NotFound):
        terms.require_id(number)


@pytest.mark.parametrize(
    "key_id", ["", "Ab3dE6g", "Ab3dE6gHi", "Ab3dE6g\x00", "Ab3dE6g٣"]
)
def test_a_key_id_no_key_can_have_is_not_found(key_id: str) -> None:
    assert terms.require_key_id("Ab3dE6gH") == "Ab3dE6gH"
    with pytest.raises(NotFound):
        terms.require_key_id(key_id)
