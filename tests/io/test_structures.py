"""Structures of particles: what counts in atomic models and maps, and what is told of files that are neither."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from tomopick.errors import DataError
from tomopick.io.mrc import write_mrc
from tomopick.io.structures import parse_structure, read_structure

CARBON, OXYGEN = 0.0120107, 0.0159994  # kDa
ATOM = "ATOM  {:5d}  {:<3} ALA A{:4d}    {:8.3f}{:8.3f}{:8.3f}{:6.2f}  0.00          {:>2}\n"
WATER = "HETATM    9  O   HOH A   9      90.000  90.000  90.000  1.00  0.00           O\n"
LOOP = """data_two
loop_
_atom_site.group_PDB
_atom_site.id
_atom_site.type_symbol
_atom_site.label_atom_id
_atom_site.label_alt_id
_atom_site.label_comp_id
_atom_site.label_asym_id
_atom_site.label_entity_id
_atom_site.label_seq_id
_atom_site.Cartn_x
_atom_site.Cartn_y
_atom_site.Cartn_z
_atom_site.occupancy
_atom_site.auth_asym_id
ATOM 1 C CA . ALA A 1 1 10 0 0 1.0 A
ATOM 2 O O . ALA A 1 1 20 0 0 1.0 A
"""
ASSEMBLY = """_pdbx_struct_assembly.id 1
_pdbx_struct_assembly.details author_defined_assembly
_pdbx_struct_assembly.method_details ?
_pdbx_struct_assembly.oligomeric_details dimeric
_pdbx_struct_assembly.oligomeric_count 2
_pdbx_struct_assembly_gen.assembly_id 1
_pdbx_struct_assembly_gen.oper_expression 1,2
_pdbx_struct_assembly_gen.asym_id_list A
loop_
_pdbx_struct_oper_list.id
_pdbx_struct_oper_list.type
_pdbx_struct_oper_list.matrix[1][1]
_pdbx_struct_oper_list.matrix[1][2]
_pdbx_struct_oper_list.matrix[1][3]
_pdbx_struct_oper_list.vector[1]
_pdbx_struct_oper_list.matrix[2][1]
_pdbx_struct_oper_list.matrix[2][2]
_pdbx_struct_oper_list.matrix[2][3]
_pdbx_struct_oper_list.vector[2]
_pdbx_struct_oper_list.matrix[3][1]
_pdbx_struct_oper_list.matrix[3][2]
_pdbx_struct_oper_list.matrix[3][3]
_pdbx_struct_oper_list.vector[3]
1 'identity operation' 1 0 0 0 0 1 0 0 0 0 1 0
2 'point symmetry operation' -1 0 0 0 0 -1 0 60 0 0 1 0
"""


def atoms(*lines: tuple[str, float, float, float, float]) -> str:
    """A PDB file of atoms: element, x, y, z and occupancy."""
    return "".join(ATOM.format(i + 1, e, i + 1, x, y, z, occ, e) for i, (e, x, y, z, occ) in enumerate(lines))


def test_an_atomic_model_weighs_its_atoms_where_they_are(tmp_path: Path) -> None:
    file = tmp_path / "two.pdb"
    file.write_text(atoms(("C", 1, 2, 3, 1.0), ("O", 41, 22, 3, 0.5)) + WATER + "END\n")
    structure = read_structure(file, "two")
    assert structure.mass == pytest.approx(CARBON + OXYGEN / 2, rel=1e-5)
    # twenty voxels of 2 A apart along x, ten along y, and x is the last axis
    assert structure.density.shape == (1, 11, 21)
    assert structure.density[0, 0, 0] == pytest.approx(CARBON, rel=1e-5)
    assert structure.density[0, 10, 20] == pytest.approx(OXYGEN / 2, rel=1e-5)
    assert structure.spacing == 2.0


def test_a_very_large_model_takes_no_more_memory(tmp_path: Path) -> None:
    (tmp_path / "far.pdb").write_text(atoms(("C", 0, 0, 0, 1.0), ("O", 9000, 4500, 0, 1.0)))
    structure = read_structure(tmp_path / "far.pdb", "far")
    assert structure.density.shape == (1, 101, 201)
    assert structure.spacing == 45.0
    assert structure.density[0, 100, 200] == pytest.approx(OXYGEN, rel=1e-5)


def test_the_biological_assembly_is_taken_where_the_file_has_one(tmp_path: Path) -> None:
    (tmp_path / "one.cif").write_text(LOOP)
    (tmp_path / "both.cif").write_text(LOOP + "#\n" + ASSEMBLY)
    one, both = (read_structure(tmp_path / name, "x") for name in ("one.cif", "both.cif"))
    assert both.mass == pytest.approx(2 * one.mass, rel=1e-6)
    # x from -20 to 20 and y from 0 to 60
    assert (one.density.shape, both.density.shape) == ((1, 1, 6), (1, 31, 21))
    assert both.density[0, 0, 20] == both.density[0, 30, 0] == pytest.approx(OXYGEN, rel=1e-5)


def test_packed_models_read_as_unpacked_ones(tmp_path: Path) -> None:
    (tmp_path / "one.cif").write_text(LOOP)
    (tmp_path / "one.cif.gz").write_bytes(gzip.compress(LOOP.encode()))
    one, packed = (read_structure(tmp_path / name, "x") for name in ("one.cif", "one.cif.gz"))
    assert np.array_equal(one.density, packed.density)


def test_packed_maps_read_as_unpacked_ones(tmp_path: Path) -> None:
    density = np.zeros((12, 13, 14))
    density[4:8, 4:9, 5:9] = np.random.default_rng(0).uniform(1, 2, (4, 5, 4))
    write_mrc(tmp_path / "emd_1.map", density, 5.0)
    (tmp_path / "emd_1.map.gz").write_bytes(gzip.compress((tmp_path / "emd_1.map").read_bytes()))
    one, packed = (read_structure(tmp_path / name, "x", 300.0) for name in ("emd_1.map", "emd_1.map.gz"))
    assert packed.spacing == one.spacing
    assert np.array_equal(one.density, packed.density)


def test_of_a_map_what_rises_above_its_noise_weighs_what_was_told(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    clean = np.zeros((40, 40, 40))
    clean[18:26, 14:20, 15:29] = 1
    clean = gaussian_filter(clean, 1.0)
    write_mrc(tmp_path / "clean.mrc", clean, 4.0)
    write_mrc(tmp_path / "noisy.mrc", clean + 0.05 * rng.standard_normal(clean.shape) + 0.3, 4.0)
    clean_one, noisy = (read_structure(tmp_path / f"{n}.mrc", "x", 300.0) for n in ("clean", "noisy"))
    assert clean_one.mass == pytest.approx(300, rel=1e-5)
    assert noisy.mass == pytest.approx(300, rel=1e-5)
    assert noisy.spacing == 4.0
    # one voxel in 700 is above three deviations by chance, also far from the particle
    assert noisy.radius == pytest.approx(clean_one.radius, rel=0.1)
    assert noisy.density.max() == pytest.approx(clean_one.density.max(), rel=0.2)  # not flat, for all of its offset
    assert max(noisy.density.shape) <= max(clean_one.density.shape) <= 22


def test_fine_maps_are_binned_and_keep_mass_size_and_shape(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    coarse = np.zeros((12, 13, 14))
    coarse[3:9, 4:9, 5:11] = rng.uniform(0.5, 1, (6, 5, 6))
    write_mrc(tmp_path / "fine.mrc", np.kron(coarse, np.ones((3, 3, 3))), 1.3)
    structure = read_structure(tmp_path / "fine.mrc", "x", 100.0)
    assert structure.spacing == pytest.approx(3.9)
    assert structure.mass == pytest.approx(100, rel=1e-5)
    expected = coarse[3:9, 4:9, 5:11]
    np.testing.assert_allclose(structure.density, 100 * expected / expected.sum(), rtol=1e-4)


def test_parts_of_a_particle_that_stand_apart_count(tmp_path: Path) -> None:
    two = np.zeros((20, 20, 30))
    two[8:12, 8:12, 6:10] = two[8:12, 8:12, 18:22] = 1
    write_mrc(tmp_path / "two.mrc", two, 5.0)
    structure = read_structure(tmp_path / "two.mrc", "x", 100.0)
    assert structure.density.shape == (4, 4, 16)
    assert structure.density[..., :4].sum() == pytest.approx(50, rel=1e-5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ribosome", "write NAME=FILE"),
        ("=x.pdb", "write NAME=FILE"),
        ("ribosome=", "write NAME=FILE"),
        ("ribosome=gone.pdb", "no file .*gone.pdb"),
        ("ribosome={0}/gone.mrc:465", "no file .*gone.mrc "),
        ("ribosome={0}/map.mrc", "does not tell a mass.*ribosome=.*map.mrc:465"),
        ("ribosome={0}/map.mrc:-3", "mass of ribosome is -3 kDa"),
        ("ribosome={0}/map.mrc:nan", "mass of ribosome is nan kDa"),
        ("ribosome={0}/empty.mrc:3", "no density above its noise"),
        ("ribosome={0}/map.mrc:300kDa", "mass '300kDa' of ribosome is no number.*map.mrc:465"),
        ("ribosome={0}/map.mrc:", "mass '' of ribosome is no number"),
        ("ribosome={0}/dark.mrc:465", "particle in .*dark.mrc is darker.*times -1"),
        ("ribosome={0}/bad.cif", "cannot read .*bad.cif"),
        ("ribosome={0}/none.pdb", "no atoms but those of water"),
        ("ribosome={0}/water.pdb", "no atoms but those of water"),
        ("ribosome={0}/notes.txt", "no structure that can be read.*pdb.*mrc"),
        ("ribosome={0}/packed.map.gz:3", "^{0}/packed.map.gz is not an MRC file: it has 3 bytes"),
        ("ribosome={0}/torn.map.gz:3", "cannot read {0}/torn.map.gz"),
        ("ribosome={0}/spoilt.map.gz:3", "cannot read {0}/spoilt.map.gz"),
        ("ribosome={0}/plain.map.gz:3", "cannot read {0}/plain.map.gz"),
    ],
)
def test_what_is_no_structure_is_told(tmp_path: Path, text: str, message: str) -> None:
    write_mrc(tmp_path / "map.mrc", np.ones((4, 4, 4)), 5.0)
    write_mrc(tmp_path / "empty.mrc", np.zeros((4, 4, 4)), 5.0)
    dark = np.zeros((12, 12, 12))
    dark[4:8, 4:8, 4:8] = -1
    write_mrc(tmp_path / "dark.mrc", dark, 5.0)
    (tmp_path / "bad.cif").write_text("data_x\nloop_\n_a\n'open\n")
    (tmp_path / "none.pdb").write_text("END\n")
    (tmp_path / "water.pdb").write_text(WATER + "END\n")
    (tmp_path / "notes.txt").write_text("notes")
    (tmp_path / "packed.map.gz").write_bytes(gzip.compress(b"map"))
    whole = gzip.compress(bytes(range(256)) * 99)
    (tmp_path / "torn.map.gz").write_bytes(whole[:-40])
    (tmp_path / "spoilt.map.gz").write_bytes(whole[:30] + bytes([whole[30] ^ 255]) + whole[31:])
    (tmp_path / "plain.map.gz").write_bytes((tmp_path / "map.mrc").read_bytes())
    with pytest.raises(DataError, match=message.format(tmp_path)):
        parse_structure(text.format(tmp_path))


def test_a_mass_stands_after_the_last_colon(tmp_path: Path) -> None:
    (tmp_path / "a:b.cif").write_text(LOOP)
    without, heavy = parse_structure(f"x={tmp_path}/a:b.cif"), parse_structure(f"x = {tmp_path}/a:b.cif:500")
    assert (without.name, heavy.name) == ("x", "x")
    assert without.mass == pytest.approx(CARBON + OXYGEN, rel=1e-5)
    assert heavy.mass == pytest.approx(500, rel=1e-5)
    assert heavy.density.shape == without.density.shape
