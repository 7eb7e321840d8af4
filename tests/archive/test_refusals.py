"""What an archive must not hold, and archives that are refused before anything is written."""

import hashlib
import io
import json
import os
import tarfile

import numpy as np
import pytest
from ase.build import bulk

from alpw import archive
from alpw.archive.contents import TAKEN
from alpw.database import blobs, campaigns, configurations, models
from alpw.database.configurations import Role
from alpw.database.indexes import ensure_indexes
from alpw.errors import AlpwError, DatabaseError, InputError
from alpw.structures.frame import Label, LabelledFrame

PASSWORD = b"hunter2hunter2"
RECORD = {"code": "vasp", "settings": {}, "settings_hash": "h"}


@pytest.fixture
def small(launchpad, inputs):
    """A campaign with one label, whose calculation's folder has been used for all sorts of things."""
    db, folder = launchpad.db, inputs.folder
    ensure_indexes(db)
    campaigns.create(db, "tiny", {"work_dir": str(folder), "state": "exhausted"})
    place = folder / "iter.0000" / "02.label" / "0"
    (place / "more").mkdir(parents=True)
    (place / "OUTCAR").write_bytes(b"free energy")
    (place / "more" / "INCAR").write_bytes(b"ENCUT = 400")
    (place / "my_launchpad.yaml").write_bytes(b"host: server")
    (place / "database.json").write_bytes(b'{"host": "server", "password": "%b"}' % PASSWORD)
    (place / "setup.sh").write_bytes(b"export URI=mongodb://me:%b@server/db" % PASSWORD)
    (place / "link").symlink_to(inputs.folder / "secret")
    (folder / "secret").write_bytes(PASSWORD)
    (folder / "other.yaml").write_bytes(b"name: x\npassword: %b" % PASSWORD)
    atoms = bulk("Si")
    frame = LabelledFrame(atoms, Label(-1.0, np.zeros((len(atoms), 3))))
    configurations.add_frame(
        db, "tiny", 0, "0/a/0", frame, Role.TRAIN, {}, {**RECORD, "directory": str(place)}
    )
    gone = {**RECORD, "directory": str(folder / "iter.0000" / "gone")}
    configurations.add_frame(db, "tiny", 0, "0/a/1", frame, Role.TRAIN, {}, gone)
    return launchpad


def test_files_come_along_without_passwords_and_large_values_whole(small, elsewhere, tmp_path):
    weights = os.urandom(20_000_000)
    models.store(small.db, "tiny", 0, 0, weights, {"file": str(tmp_path / "other.yaml")})
    made = archive.backup(small.db, "tiny", tmp_path / "a.tar", with_files=True)
    assert PASSWORD not in (tmp_path / "a.tar").read_bytes()
    with tarfile.open(tmp_path / "a.tar") as tar:
        files = {name for name in tar.getnames() if name.startswith("files/")}
    assert files == {f"files/iter.0000/02.label/0/{name}" for name in ("OUTCAR", "more/INCAR")}
    assert (made.files, made.bytes) == (2, 22)

    new = tmp_path / "new"
    assert archive.restore(elsewhere.db, tmp_path / "a.tar", work_dir=new).files_new == 2
    assert (new / "iter.0000/02.label/0/OUTCAR").read_bytes() == b"free energy"
    found = sorted(elsewhere.db["configurations"].distinct("directory"))
    assert found == [str(new / "iter.0000/02.label/0"), str(new / "iter.0000/gone")]
    assert models.weights(elsewhere.db, models.find(elsewhere.db, "tiny", 0, 0)) == weights
    blobs.put(elsewhere.db, b"the next one")

    (new / "iter.0000/02.label/0/OUTCAR").write_bytes(b"another")
    with pytest.raises(DatabaseError, match=r"file .*OUTCAR"):
        archive.restore(elsewhere.db, tmp_path / "a.tar", work_dir=new)
    (tmp_path / "elsewhere" / "iter.0000").symlink_to(tmp_path)
    with pytest.raises(AlpwError, match="leads out of"):
        archive.restore(elsewhere.db, tmp_path / "a.tar", work_dir=tmp_path / "elsewhere")


def test_a_file_is_replaced_on_request_only_and_never_by_half(small, tmp_path, monkeypatch):
    file = tmp_path / "a.tar"
    file.write_bytes(b"old")
    with pytest.raises(InputError, match="--force"):
        archive.backup(small.db, "tiny", file)
    with pytest.raises(InputError, match=r"\.tar\.gz"):
        archive.backup(small.db, "tiny", tmp_path / "a.zip")
    (tmp_path / "iter.0000/02.label/0/OUTCAR").chmod(0)
    if os.getuid():
        with pytest.raises(AlpwError, match="OUTCAR: cannot be read"):
            archive.backup(small.db, "tiny", file, force=True, with_files=True)
    assert file.read_bytes() == b"old" and not list(tmp_path.glob(".a.*"))
    archive.backup(small.db, "tiny", file, force=True)
    assert archive.restore(small.db, file).new == {}


def members(file):
    with tarfile.open(file, "r|*") as tar:
        return [(member, tar.extractfile(member).read()) for member in tar]


def rewritten(file, found, change_manifest=True):
    """An archive of other members, with a manifest that fits them."""
    if change_manifest:
        (last, data) = found[-1]
        known = {
            member.name: {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            for member, data in found[:-1]
        }
        manifest = json.loads(data) | {"members": known}
        del manifest["sha256"]
        text = json.dumps(manifest, indent=1, sort_keys=True) + "\n"
        manifest["sha256"] = hashlib.sha256(text.encode()).hexdigest()
        found = [*found[:-1], (last, json.dumps(manifest).encode())]
    with tarfile.open(file, "w") as tar:
        for member, data in found:
            member.size = len(data) if member.isreg() else 0
            tar.addfile(member, io.BytesIO(data))


def extra(name, data=b"", **fields):
    info = tarfile.TarInfo(name)
    for key, value in fields.items():
        setattr(info, key, value)
    return lambda found: [*found[:-1], (info, data), found[-1]]


def header(**fields):
    def change(found):
        (first, data), *rest = found
        return [(first, json.dumps({**json.loads(data), **fields}).encode()), *rest]

    return change


ALTERED = {
    "a path that leads out": (extra("files/../../evil", b"x"), "files/../../evil"),
    "an absolute path": (extra("/etc/evil", b"x"), "/etc/evil"),
    "a link": (extra("files/evil", type=tarfile.SYMTYPE, linkname="/etc/passwd"), "files/evil is no regular"),
    "documents of FireWorks": (extra("documents/fireworks/0.bson", b"x"), "'fireworks', which is no part"),
    "something else": (extra("evil.py", b"x"), "evil.py"),
    "a newer format": (header(format=2, alpw_version="9.9"), "format 2, and this .* ALPW 9.9"),
    "a newer schema": (header(schema=99, alpw_version="9.9"), "schema 99.* ALPW 9.9"),
    "another kind": (header(content="holiday"), "no archive of a campaign"),
    "no BSON": (extra("documents/models/9.bson", b"12345"), "'models' are no BSON"),
    "a member twice": (lambda found: [*found[:2], found[1], *found[2:]], "campaigns/.* is there twice"),
}
"""What a sender who can make a manifest may try -> what is said."""


def test_an_archive_that_was_made_to_do_harm_is_refused(small, elsewhere, tmp_path):
    archive.backup(small.db, "tiny", tmp_path / "a.tar")
    for change, said in ALTERED.values():
        rewritten(tmp_path / "b.tar", change(members(tmp_path / "a.tar")))
        with pytest.raises(InputError, match=said):
            archive.restore(elsewhere.db, tmp_path / "b.tar")
    assert not any(elsewhere.db[name].count_documents({}) for name in TAKEN)


@pytest.mark.parametrize("suffix", ["tar", "tar.gz"])
def test_damage_is_found_wherever_it_changes_anything(small, elsewhere, tmp_path, suffix):
    file = tmp_path / f"a.{suffix}"
    archive.backup(small.db, "tiny", file, with_files=True)
    whole, content = file.read_bytes(), [data for _, data in members(file)]
    rng = np.random.default_rng(1)
    refused = 0
    # What follows the manifest in a tar archive is padding.
    for place in rng.integers(1, len(whole.rstrip(b"\0")), 20):
        for damaged in (whole[:place], whole[: place - 1] + bytes([whole[place - 1] ^ 8]) + whole[place:]):
            file.write_bytes(damaged)
            try:
                archive.restore(elsewhere.db, file, dry_run=True)
                assert [data for _, data in members(file)] == content
            except InputError:
                refused += 1
    assert refused > 30


def test_the_member_that_was_altered_is_named(small, elsewhere, tmp_path):
    archive.backup(small.db, "tiny", tmp_path / "a.tar")
    found = members(tmp_path / "a.tar")
    [number] = [n for n, (member, _) in enumerate(found) if "/configurations/" in member.name]
    member, data = found[number]
    found[number] = (member, data.replace(b"0/a/1", b"0/a/2"))
    rewritten(tmp_path / "a.tar", found, change_manifest=False)
    with pytest.raises(InputError, match=f"{member.name} is not what manifest.json says"):
        archive.restore(elsewhere.db, tmp_path / "a.tar")
    rewritten(tmp_path / "a.tar", found[:number] + found[number + 1 :], change_manifest=False)
    with pytest.raises(InputError, match=f"{member.name} is missing"):
        archive.restore(elsewhere.db, tmp_path / "a.tar")
    (tmp_path / "a.tar").write_bytes((tmp_path / "a.tar").read_bytes()[:1500])
    with pytest.raises(InputError, match="cut short"):
        archive.restore(elsewhere.db, tmp_path / "a.tar")
