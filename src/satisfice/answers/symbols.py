"""Words in which the case of letters is meaning: formulas of chemistry, genotypes, short symbols."""

import re

# fmt: off
_ELEMENTS = [
    "H", "He", "Li", "Be", "B", "C", "N", "O", "F", "Ne", "Na", "Mg", "Al", "Si", "P", "S", "Cl", "Ar", "K", "Ca", "Sc",
    "Ti", "V", "Cr", "Mn", "Fe", "Co", "Ni", "Cu", "Zn", "Ga", "Ge", "As", "Se", "Br", "Kr", "Rb", "Sr", "Y", "Zr",
    "Nb", "Mo", "Tc", "Ru", "Rh", "Pd", "Ag", "Cd", "In", "Sn", "Sb", "Te", "I", "Xe", "Cs", "Ba", "La", "Ce", "Pr",
    "Nd", "Pm", "Sm", "Eu", "Gd", "Tb", "Dy", "Ho", "Er", "Tm", "Yb", "Lu", "Hf", "Ta", "W", "Re", "Os", "Ir", "Pt",
    "Au", "Hg", "Tl", "Pb", "Bi", "Po", "At", "Rn", "Fr", "Ra", "Ac", "Th", "Pa", "U", "Np", "Pu", "Am", "Cm", "Bk",
    "Cf", "Es", "Fm", "Md", "No", "Lr", "Rf", "Db", "Sg", "Bh", "Hs", "Mt", "Ds", "Rg", "Cn", "Nh", "Fl", "Mc", "Lv",
    "Ts", "Og",
]
# fmt: on
_OF_ELEMENTS = re.compile(f"(?:{'|'.join(sorted(_ELEMENTS, key=len, reverse=True))})+")
_GENES = re.compile(r"(?:([A-Za-z])(?i:\1))+")  # AaBb: two forms of each gene
_DENIALS = frozenset({"yes", "no", "true", "false"})
_SYMBOL = 4  # letters; longer words are names


def same_word(a: str, b: str) -> bool:
    """Return whether two words are equal. Case is meaning where both are symbols, and none elsewhere.

    >>> same_word("Paris", "PARIS"), same_word("CO", "Co"), same_word("Aa", "aa"), same_word("NO", "no")
    (True, False, False, True)
    """
    if a == b:
        return True
    if a.casefold() != b.casefold():
        return False
    if a.casefold() in _DENIALS:
        return True
    return not any(_are(kind, a, b) for kind in (_OF_ELEMENTS, _GENES)) and not (_is_symbol(a) and _is_symbol(b))


def _are(kind: re.Pattern[str], a: str, b: str) -> bool:
    return len(a) > 1 and bool(kind.fullmatch(a)) and bool(kind.fullmatch(b))


def _is_symbol(word: str) -> bool:
    return 1 < len(word) <= _SYMBOL and not word.islower() and not word.isupper()
