from alpw.codes.attempt import level_hash
from alpw.codes.registry import code_of
from alpw.config import Dft


def test_the_level_asked_for_depends_on_contents_and_not_on_places(tmp_path):
    files = [tmp_path / name for name in ("a.inp", "b.inp", "c.inp")]
    for file, text in zip(files, ("cutoff 1", "cutoff 1", "cutoff 2"), strict=True):
        file.write_text(text)
    plain = Dft.model_validate({"dft_style": "xtb"})

    def level(**changes):
        return level_hash(code_of("xtb"), plain.model_copy(update={"input": files[0], **changes}), ["Si"])

    assert level() == level(input=files[1]) == level(reuse_labels=True, max_silence=1.0)
    assert len({level(), level(input=files[2]), level(method="GFN2-xTB"), level(kspacing=0.3)}) == 4
