"""What synthetic residents have learnt and do, as it goes with their age.

The words are those of the family card (kartu keluarga).
"""

from typing import Final

from gateway.registry.peoples import Draw, pick

_UNSCHOOLED: Final = "TIDAK/BELUM SEKOLAH"
_IN_PRIMARY: Final = "BELUM TAMAT SD/SEDERAJAT"
_PRIMARY: Final = "TAMAT SD/SEDERAJAT"
_LOWER: Final = "SLTP/SEDERAJAT"
_UPPER: Final = "SLTA/SEDERAJAT"
_DIPLOMA: Final = "AKADEMI/DIPLOMA III/SARJANA MUDA"
_BACHELOR: Final = "DIPLOMA IV/STRATA I"
_MASTER: Final = "STRATA II"
_DOCTOR: Final = "STRATA III"

# What a child has at most at that age, in full years; from 19 it is drawn.
_SCHOOL_UNTIL: Final = (
    (6, _UNSCHOOLED),
    (12, _IN_PRIMARY),
    (15, _PRIMARY),
    (18, _LOWER),
)
_ADULT_SCHOOLING: Final = (
    (_UNSCHOOLED,) * 4
    + (_PRIMARY,) * 26
    + (_LOWER,) * 20
    + (_UPPER,) * 34
    + (_DIPLOMA,) * 4
    + (_BACHELOR,) * 10
    + (_MASTER,)
    + (_DOCTOR,)
)
_YOUNGEST_WITH: Final = {_DIPLOMA: 22, _BACHELOR: 23, _MASTER: 26, _DOCTOR: 30}

_NOT_WORKING: Final = "BELUM/TIDAK BEKERJA"
_STUDENT: Final = "PELAJAR/MAHASISWA"
_HOMEMAKER: Final = "MENGURUS RUMAH TANGGA"
_RETIRED: Final = "PENSIUNAN"
_MANUAL: Final = (
    "PETANI/PEKEBUN",
    "PETANI/PEKEBUN",
    "BURUH HARIAN LEPAS",
    "BURUH TANI/PERKEBUNAN",
    "NELAYAN/PERIKANAN",
    "PEDAGANG",
    "SOPIR",
    "TUKANG BATU",
    "TUKANG JAHIT",
    "WIRASWASTA",
)
_SKILLED: Final = (
    "KARYAWAN SWASTA",
    "KARYAWAN SWASTA",
    "KARYAWAN SWASTA",
    "WIRASWASTA",
    "WIRASWASTA",
    "PEDAGANG",
    "MEKANIK",
    "KEPOLISIAN RI",
    "TENTARA NASIONAL INDONESIA",
    "PERANGKAT DESA",
)
_LEARNED: Final = (
    "PEGAWAI NEGERI SIPIL",
    "PEGAWAI NEGERI SIPIL",
    "GURU",
    "GURU",
    "KARYAWAN SWASTA",
    "KARYAWAN BUMN",
    "PERAWAT",
    "WIRASWASTA",
)
_OF_A_BACHELOR: Final = (*_LEARNED, "DOKTER", "APOTEKER", "AKUNTAN", "PENGACARA")
_OF_A_MASTER: Final = ("DOSEN", "DOSEN", "DOKTER", "PEGAWAI NEGERI SIPIL", "KONSULTAN")
_WORK: Final = {
    _UPPER: _SKILLED,
    _DIPLOMA: _LEARNED,
    _BACHELOR: _OF_A_BACHELOR,
    _MASTER: _OF_A_MASTER,
    _DOCTOR: _OF_A_MASTER,
}
_OF_THE_OLD: Final = (_NOT_WORKING, "PETANI/PEKEBUN", "PEDAGANG", "WIRASWASTA")

_LAST_SCHOOL_AGE: Final = 18
_LAST_STUDENT_AGE: Final = 23
_RETIREMENT_AGE: Final = 60


def education(draw: Draw, age: int) -> str:
    """Draw the highest schooling completed; `age` in full years."""
    for until, schooling in _SCHOOL_UNTIL:
        if age <= until:
            return schooling
    drawn = pick(draw, _ADULT_SCHOOLING)
    return drawn if age >= _YOUNGEST_WITH.get(drawn, 0) else _UPPER


def occupation(draw: Draw, age: int, schooling: str, *, is_wife: bool) -> str:
    """Draw the occupation that goes with this age (full years) and schooling."""
    if age <= _SCHOOL_UNTIL[0][0]:
        return _NOT_WORKING
    if age <= _LAST_SCHOOL_AGE:
        return _STUDENT
    if is_wife and draw() < 0.55:  # noqa: PLR2004 - a share, said where it is used
        return _HOMEMAKER
    if age >= _RETIREMENT_AGE:
        return _RETIRED if schooling in _YOUNGEST_WITH else pick(draw, _OF_THE_OLD)
    if age <= _LAST_STUDENT_AGE and schooling == _UPPER and draw() < 0.5:  # noqa: PLR2004 - as above
        return _STUDENT
    return pick(draw, _WORK.get(schooling, _MANUAL))
