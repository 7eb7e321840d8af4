"""The CP2K input survives reading and writing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alpw.codes.cp2k.inputs import DEFAULT_INPUT
from alpw.codes.cp2k.sections import Section, parse, read
from alpw.errors import InputError

NAMES = st.from_regex(r"[A-Z][A-Z_]{0,8}", fullmatch=True).filter(lambda name: name != "END")
VALUES = st.from_regex(r"[A-Za-z0-9.\-\[\]]{1,8}( [A-Za-z0-9.\-\[\]]{1,8}){0,2}", fullmatch=True)
KEYWORDS = st.lists(st.tuples(NAMES, VALUES), max_size=4)
SECTIONS = st.recursive(
    st.builds(Section, NAMES, VALUES | st.just(""), KEYWORDS),
    lambda children: st.builds(
        Section, NAMES, VALUES | st.just(""), KEYWORDS, st.lists(children, max_size=3)
    ),
    max_leaves=12,
)


@given(st.lists(SECTIONS, max_size=4))
def test_writing_and_reading_give_the_same_tree(sections):
    root = Section(sections=sections)
    assert parse(str(root)) == root


def test_pymatgen_reads_the_written_default_input_the_same_way():
    pymatgen_inputs = pytest.importorskip("pymatgen.io.cp2k.inputs")
    theirs = pymatgen_inputs.Cp2kInput.from_str(str(read(DEFAULT_INPUT)))
    assert theirs.by_path("FORCE_EVAL/DFT/MGRID").get_keyword("CUTOFF").values == (400,)
    assert theirs.by_path("FORCE_EVAL/DFT/SCF/MIXING").get_keyword("NBROYDEN").values == (8,)


def test_comments_case_blanks_and_continued_lines():
    root = parse(
        "&force_eval ! here\n method   quickstep # there\n &dft\n  charge \\\n 1\n &end\n&END FORCE_EVAL\n"
    )
    assert root.need("FORCE_EVAL").get("METHOD") == "quickstep"
    assert root.need("FORCE_EVAL/DFT").get("CHARGE") == "1"


def test_hash_inside_quotes_is_no_comment():
    assert parse("&A\n FILE 'a#b' ! c\n&END\n").need("A").get("FILE") == "'a#b'"


def test_variables_and_includes_are_filled_in(tmp_path):
    (tmp_path / "grid.inc").write_text("&MGRID\n CUTOFF ${CUT}\n&END\n")
    (tmp_path / "a.inp").write_text("@SET CUT 300\n&DFT\n@INCLUDE 'grid.inc'\n&END DFT\n")
    assert read(tmp_path / "a.inp").need("DFT/MGRID").get("CUTOFF") == "300"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("&A\n&B\n&END A\n&END\n", "closes &B"),
        ("&A\n", "never closed"),
        ("&END\n", "without a section"),
        ("@IF 1\n&A\n&END\n@ENDIF\n", "@IF"),
        ("&A\n CUTOFF $CUT\n&END\n", "variable CUT"),
        ("@INCLUDE nowhere.inc\n", "does not exist"),
    ],
)
def test_malformed_input_is_refused_with_its_line(text, message):
    with pytest.raises(InputError, match=message):
        parse(text)


def test_setting_a_keyword_replaces_its_aliases_which_cp2k_refuses_beside_it():
    mixing = Section("MIXING", keywords=[("nbuffer", "8"), ("ALPHA", "0.4")])
    mixing.set("NBROYDEN", "16", aliases=("NBUFFER",))
    assert mixing.keywords == [("ALPHA", "0.4"), ("NBROYDEN", "16")]


def test_state_of_random_numbers_keeps_its_columns():
    """As CP2K writes it into a restart file: fixed columns, and a hash that begins no comment."""
    record = "Wiener process for Thermostat # 1        1 F T F  -5.3256676660540425E-01        1872331280.0"
    tree = parse(f"&CSVR\n  TIMECON 48.4\n  &RNG_INIT\n{record}\n  &END RNG_INIT\n&END CSVR\n")
    assert f"    {record}\n" in str(tree)
    assert parse(str(tree)) == tree
    assert tree.need("CSVR").get("TIMECON") == "48.4"
