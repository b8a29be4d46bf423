"""Data sets are read in the layouts in which they are published, or refused with a reason."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ellc.evaluate.layouts import open_data
from ellc.evaluate.layouts.options import DataOptions
from ellc.evaluate.samples import Sample
from ellc.evaluate.subject import Subject, other_subject
from ellc.ir.errors import EllcError
from ellc.ir.types import Array
from ellc.models import ModelOptions

RNG = np.random.default_rng(7)
PLAIN = DataOptions()
Write = Callable[[Path], None]


def pictures(count: int, *shape: int) -> Array:
    return RNG.integers(0, 256, (count, *shape)).astype(np.uint8)


def samples(path: Path, options: DataOptions = PLAIN) -> list[Sample]:
    data = open_data(path, options)
    return [data[index] for index in range(len(data))]


def save(folder: Path, name: str, pixels: Array) -> None:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(file)


def test_folders_of_classes_are_labelled_in_order_of_their_names(tmp_path: Path) -> None:
    for name in ("owl/b.png", "owl/a.png", "ant/z.png", "ant/notes.txt"):
        if name.endswith("txt"):
            (tmp_path / name).write_text("no picture")
        else:
            save(tmp_path, name, pictures(1, 4, 4, 3)[0])
    data = open_data(tmp_path, PLAIN)
    assert list(data.classes) == ["ant", "owl"]
    assert [(s.name, s.label) for s in samples(tmp_path)] == [
        ("ant/z.png", 0),
        ("owl/a.png", 1),
        ("owl/b.png", 1),
    ]


def test_a_pipe_is_no_picture(tmp_path: Path) -> None:
    save(tmp_path, "ant/a.png", pictures(1, 4, 4, 3)[0])
    os.mkfifo(tmp_path / "ant" / "b.png")
    assert [s.name for s in samples(tmp_path)] == ["ant/a.png"]


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("file,class\nb.png,7\na.png,2\n", ""),
        ("name,class_1001,file\nowl,7,b.png\nant,2,a.png\n", "class_1001"),
        ("2\n7\n", ""),
    ],
)
def test_a_flat_folder_takes_its_classes_from_a_table_or_a_list(
    tmp_path: Path, text: str, column: str
) -> None:
    folder, truth = tmp_path / "pictures", tmp_path / "truth.csv"
    for name in ("a.png", "b.png"):
        save(folder, name, pictures(1, 4, 4, 3)[0])
    truth.write_text(text)
    found = samples(folder, DataOptions(truth, column))
    assert {s.name: s.label for s in found} == {"a.png": 2, "b.png": 7}


def test_cifar10_records_are_planes_after_a_class(tmp_path: Path) -> None:
    x, y = pictures(3, 32, 32, 3), np.array([[9], [0], [4]], np.uint8)
    records = np.concatenate([y, x.transpose(0, 3, 1, 2).reshape(3, -1)], axis=1)
    records.tofile(tmp_path / "test_batch.bin")
    (tmp_path / "batches.meta.txt").write_text("airplane\nautomobile\n")
    for path in (tmp_path, tmp_path / "test_batch.bin"):
        found = samples(path)
        assert [s.label for s in found] == [9, 0, 4]
        np.testing.assert_array_equal(np.stack([s.content for s in found]), x)
    assert list(open_data(tmp_path, PLAIN).classes) == ["airplane", "automobile"]


# Arrays of numpy as in the pickles of CIFAR-10, which Python 2 wrote.
PYTHON_2_ARRAY = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntU\x01btR"
PYTHON_2_BYTE = b"cnumpy\ndtype\n(U\x02u1I0\nI1\ntR(I3\nU\x01|NNNI-1\nI-1\nI0\ntb"


def python_2_batch(x: Array, y: list[int]) -> bytes:
    rows = x.transpose(0, 3, 1, 2).tobytes()
    shape = f"(I{len(x)}\nI3072\nt".encode()
    state = (
        b"(I1\n" + shape + PYTHON_2_BYTE + b"I00\nT" + struct.pack("<i", len(rows)) + rows + b"tb"
    )
    labels = b"(l" + b"".join(f"I{label}\na".encode() for label in y)
    items = b"U\x04data" + PYTHON_2_ARRAY + state + b"sU\x06labels" + labels + b"s"
    return b"\x80\x02}" + items + b"."


def test_cifar10_of_python_is_read_without_running_it(tmp_path: Path) -> None:
    x = pictures(6, 32, 32, 3)
    (tmp_path / "test_batch").write_bytes(python_2_batch(x[:3], [9, 0, 4]))
    # The same data as Python 3 and today's numpy write them; Python 2 wrote the first batch.
    (tmp_path / "data_batch_1").write_bytes(python_2_batch(x[:3], [1, 2, 3]))
    again = {b"data": x[3:].transpose(0, 3, 1, 2).reshape(3, -1), b"labels": [5, 6, 7]}
    (tmp_path / "data_batch_2").write_bytes(pickle.dumps(again, 2))
    names = {"label_names": ["airplane", "automobile"], "num_vis": 3072}
    (tmp_path / "batches.meta").write_bytes(pickle.dumps(names, 2))
    for path in (tmp_path, tmp_path / "test_batch"):
        found = samples(path)
        assert [s.label for s in found] == [9, 0, 4]
        np.testing.assert_array_equal(np.stack([s.content for s in found]), x[:3])
    found = samples(tmp_path, DataOptions(split="train"))
    assert [s.label for s in found] == [1, 2, 3, 5, 6, 7]
    np.testing.assert_array_equal(np.stack([s.content for s in found]), x)
    assert list(open_data(tmp_path, PLAIN).classes) == ["airplane", "automobile"]


HOSTILE = {
    "runs a command": (b"cos\nsystem\n(S'touch owned'\ntR.", "os.system, which is not data"),
    "another function": (b"cnumpy\nload\n(S'x'\ntR.", "numpy.load, which is not data"),
    "an object": (b"(icollections\nCounter\n.", "not a batch"),
    "no dictionary": (b"\x80\x02]q\x00.", "of type list, not a dictionary"),
    "empty": (b"", "ends too early"),
    "an integer cut off": (b"\x80\x02J\x01", "requires a buffer of 4 bytes"),
    "no labels": (b"}.", "it has no 'labels'"),
    "a tuple as key": (b"}(ttK\x01s.", "not a batch"),
    "a label that is a list": (b"}S'labels'\n(l]as.", "not a list of integers"),
    "a huge label": (b"}(S'labels'\n(lL" + b"9" * 99 + b"L\naS'data'\nNu.", "not a batch"),
    "no array": (b"}(S'labels'\n(lI1\naS'data'\nS'abc'\nu.", "data are not an array"),
    "an array without state": (
        *(b"}(S'labels'\n(lI1\naS'data'\n" + PYTHON_2_ARRAY + b"u.", "data are not an array"),
    ),
    "a short array": (
        *(python_2_batch(np.zeros((1, 32, 32, 3), np.uint8), [1, 2]), "its labels need 6144"),
    ),
    "cut": (python_2_batch(np.zeros((1, 32, 32, 3), np.uint8), [1])[:-900], "not a batch"),
    "a huge memo": (b"Nr\xff\xff\xff\x7f.", "of type NoneType, not a dictionary"),
    "a state of a name": (b"cnumpy\nndarray\n}b.", "of type str, not a dictionary"),
}


@pytest.mark.parametrize("content, said", HOSTILE.values(), ids=HOSTILE)
def test_hostile_pickles_are_refused(
    content: bytes, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "test_batch"
    file.write_bytes(content)
    with pytest.raises(EllcError, match=said) as caught:
        open_data(file, PLAIN)
    assert caught.value.code == "E771"
    assert [path.name for path in tmp_path.iterdir()] == ["test_batch"]


def idx(array: Array) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


@pytest.mark.parametrize("packed", [False, True])
def test_idx_files_are_grey_pictures(tmp_path: Path, packed: bool) -> None:
    x, y = pictures(5, 28, 28), np.arange(5, dtype=np.uint8)
    for name, array in (("images-idx3", x), ("labels-idx1", y)):
        content = idx(array)
        file = tmp_path / f"t10k-{name}-ubyte{'.gz' if packed else ''}"
        file.write_bytes(gzip.compress(content) if packed else content)
    found = samples(tmp_path)
    assert [s.label for s in found] == [0, 1, 2, 3, 4]
    np.testing.assert_array_equal(np.stack([s.content for s in found])[..., 0], x)


def test_fer2013_gives_the_final_test_of_the_contest(tmp_path: Path) -> None:
    x = pictures(3, 48, 48)
    parts = ("Training", "PrivateTest", "PublicTest")
    rows = [
        f"{n},{' '.join(map(str, p.reshape(-1).tolist()))},{part}"
        for n, (p, part) in enumerate(zip(x, parts, strict=True))
    ]
    file = tmp_path / "fer2013.csv"
    file.write_text("\n".join(["emotion,pixels,Usage", *rows]))
    (only,) = samples(file)
    assert only.label == 1
    np.testing.assert_array_equal(only.content, x[1][..., np.newaxis])
    (first,) = samples(file, DataOptions(split="train"))
    assert first.label == 0


def test_npz_holds_pictures_or_values(tmp_path: Path) -> None:
    x = RNG.standard_normal((4, 10)).astype(np.float32)
    np.savez(tmp_path / "a.npz", x=x, y=np.arange(4), classes=np.array(["p", "q", "r", "s"]))
    found = samples(tmp_path / "a.npz")
    assert [s.label for s in found] == [0, 1, 2, 3]
    np.testing.assert_array_equal(np.stack([s.content for s in found]), x)
    assert list(open_data(tmp_path / "a.npz", PLAIN).classes) == ["p", "q", "r", "s"]


def test_names_of_classes_are_texts_of_any_kind(tmp_path: Path) -> None:
    for names in (["p", "\u00e9"], [b"p", "\u00e9".encode()], np.array(["p", "\u00e9"], ">U3")):
        _npz(tmp_path, np.zeros((2, 3)), names=names)
        assert list(open_data(tmp_path / "x.npz", PLAIN).classes) == ["p", "\u00e9"]
    _npz(tmp_path, np.zeros((2, 3)), names=[3, 5])
    assert list(open_data(tmp_path / "x.npz", PLAIN).classes) == ["3", "5"]
    no_letters = np.array([b"\xff" * 4] * 2).view("<U1")
    _npz(tmp_path, np.zeros((2, 3)), names=no_letters)
    assert list(open_data(tmp_path / "x.npz", PLAIN).classes) == ["\ufffd"] * 2


def _short_bin(folder: Path) -> None:
    (folder / "x.bin").write_bytes(bytes(3072))


def _objects(folder: Path) -> None:
    np.savez(folder / "x.npz", x=np.array([{}], object), y=np.array([0]))


def _labels_of_other_length(folder: Path) -> None:
    np.savez(folder / "x.npz", x=np.zeros((3, 2)), y=np.arange(2))


def _negative(folder: Path) -> None:
    np.savez(folder / "x.npz", x=np.zeros((2, 2)), y=np.array([0, -1]))


def _npz(folder: Path, x: object, y: object = (0, 1), **more: object) -> Path:
    """A file with arrays, or with members of arbitrary bytes."""
    file = folder / "x.npz"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in {"x": x, "y": y, **more}.items():
            made = io.BytesIO()
            if not isinstance(content, bytes):
                np.save(made, np.asarray(content))
            packed.writestr(
                f"{name}.npy", content if isinstance(content, bytes) else made.getvalue()
            )
    return file


def _no_arrays(folder: Path) -> None:
    _npz(folder, b"not an array", b"nor this")


def _torn_header(folder: Path) -> None:
    _npz(folder, b"\x93NUMPY\x01\x00\x04\x00{'a(")


def _huge_extent(folder: Path) -> None:
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 0, %d)}" % (1 << 80)
    _npz(folder, b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header)


def _no_axis(folder: Path) -> None:
    _npz(folder, np.float32(1))


def _complex(folder: Path) -> None:
    _npz(folder, np.zeros((2, 3), np.complex64))


def _dates(folder: Path) -> None:
    _npz(folder, np.zeros((2, 3), "M8[s]"))


def _records(folder: Path) -> None:
    _npz(folder, np.zeros((2, 3), [("a", "f4")]))


def _classes_are_no_texts(folder: Path) -> None:
    _npz(folder, np.zeros((2, 3)), classes=b"owl")


def _grown(folder: Path) -> None:
    _npz(folder, np.zeros((2, 1 << 22)))


def _needs_a_newer_zip(folder: Path) -> None:
    file = _npz(folder, np.zeros((2, 3)))
    content = bytearray(file.read_bytes())
    content[content.index(b"PK\x01\x02") + 6] = 99
    file.write_bytes(content)


def _encrypted(folder: Path) -> None:
    file = _npz(folder, np.zeros((2, 3)))
    content = bytearray(file.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] = content[6] = 1
    file.write_bytes(content)


def _batch_is_a_folder(folder: Path) -> None:
    (folder / "test_batch.bin").mkdir()


def _idx_without_axes(folder: Path) -> None:
    (folder / "t10k-images-idx3-ubyte").write_bytes(struct.pack(">HBBB", 0, 8, 0, 7))
    (folder / "t10k-labels-idx1-ubyte").write_bytes(idx(np.zeros(1, np.uint8)))


def _idx_without_pixels(folder: Path) -> None:
    (folder / "t10k-images-idx3-ubyte").write_bytes(struct.pack(">HBB3I", 0, 8, 3, 1, 0, 8))
    (folder / "t10k-labels-idx1-ubyte").write_bytes(idx(np.zeros(1, np.uint8)))


def _idx_beyond_64_bits(folder: Path) -> None:
    head = struct.pack(">HBB3I", 0, 8, 3, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    (folder / "t10k-images-idx3-ubyte").write_bytes(head)
    (folder / "t10k-labels-idx1-ubyte").write_bytes(idx(np.zeros(1, np.uint8)))


def _grown_idx(folder: Path) -> None:
    content = gzip.compress(idx(np.zeros((2, 1 << 11, 1 << 11), np.uint8)))
    (folder / "t10k-images-idx3-ubyte.gz").write_bytes(content)
    (folder / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(np.zeros(2, np.uint8))))


def _unknown_names(folder: Path) -> None:
    np.savez(folder / "x.npz", a=np.zeros((2, 2)), b=np.arange(2))


def _huge_idx(folder: Path) -> None:
    (folder / "t10k-images-idx3-ubyte").write_bytes(struct.pack(">HBB3I", 0, 8, 3, *[1 << 20] * 3))
    (folder / "t10k-labels-idx1-ubyte").write_bytes(idx(np.zeros(1, np.uint8)))


def _no_labels(folder: Path) -> None:
    (folder / "t10k-images-idx3-ubyte").write_bytes(idx(pictures(1, 2, 2)))


def _torn_gzip(folder: Path) -> None:
    content = gzip.compress(idx(pictures(1, 28, 28)))
    (folder / "t10k-images-idx3-ubyte.gz").write_bytes(content[:100])
    (folder / "t10k-labels-idx1-ubyte.gz").write_bytes(content[:100])


def _wrong_fer(folder: Path) -> None:
    (folder / "x.csv").write_text("emotion,pixels,Usage\n1,1 2 300,PrivateTest\n")


def _empty_class_folders(folder: Path) -> None:
    (folder / "ant").mkdir()


def _only_pictures(folder: Path) -> None:
    save(folder, "a.png", pictures(1, 4, 4, 3)[0])


@pytest.mark.parametrize(
    ("write", "name", "code"),
    [
        (_short_bin, "x.bin", "E771"),
        (_objects, "x.npz", "E771"),
        (_labels_of_other_length, "x.npz", "E771"),
        (_negative, "x.npz", "E771"),
        (_unknown_names, "x.npz", "E771"),
        (_huge_idx, "", "E771"),
        (_no_labels, "", "E771"),
        (_torn_gzip, "", "E771"),
        (_wrong_fer, "x.csv", "E771"),
        *((write, "x.npz", "E771") for write in (_no_arrays, _torn_header, _huge_extent, _no_axis)),
        *((write, "x.npz", "E771") for write in (_complex, _dates, _records, _grown)),
        *((write, "x.npz", "E771") for write in (_needs_a_newer_zip, _encrypted)),
        (_classes_are_no_texts, "x.npz", "E771"),
        *((write, "", "E771") for write in (_batch_is_a_folder, _idx_without_axes, _grown_idx)),
        *((write, "", "E771") for write in (_idx_without_pixels, _idx_beyond_64_bits)),
        (_empty_class_folders, "", "E771"),
        (_only_pictures, "", "E770"),
        (lambda folder: None, "", "E770"),
        (lambda folder: None, "missing", "E713"),
        (lambda folder: (folder / "x.txt").touch(), "x.txt", "E770"),
    ],
)
def test_damaged_data_are_one_error(tmp_path: Path, write: Write, name: str, code: str) -> None:
    write(tmp_path)
    with pytest.raises(EllcError) as caught:
        open_data(tmp_path / name, PLAIN)
    assert caught.value.code == code


@pytest.mark.parametrize("text", ["a" * 5000, "a" * 5000 + "=litert"])
def test_what_cannot_be_a_path_is_no_other_network(text: str) -> None:
    judged = Subject((Path("a.eir"),), "compiled", ModelOptions())
    with pytest.raises(EllcError, match="File name too long"):
        other_subject(text, judged)


def test_a_wrong_row_is_named_by_its_line(tmp_path: Path) -> None:
    good = f"0,{' '.join(['7'] * 2304)},PrivateTest"
    file = tmp_path / "x.csv"
    file.write_text("\n".join(["emotion,pixels,Usage", good, "0,1 2 owl,PrivateTest", good, good]))
    with pytest.raises(EllcError, match="line 3"):
        open_data(file, PLAIN)


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("file,class\na.png,owl\n", ""),
        ("file,class\nmissing.png,1\n", ""),
        ("file,class\na.png\n", ""),
        ("picture,kind\na.png,1\n", ""),
        ("file,class\na.png,1\n", "kind"),
        ("1\n2\n", ""),
        ("owl\n", ""),
        ("9" * 5000 + "\n", ""),
        ("file,class\na.png," + "9" * 5000 + "\n", ""),
        ("file,class\n" + "a" * 200_000 + ",1\n", ""),
        ("file,class\n" + "a" * 5000 + ",1\n", ""),
        ("file,class\na\0.png,1\n", ""),
    ],
)
def test_damaged_truth_is_one_error(tmp_path: Path, text: str, column: str) -> None:
    folder, truth = tmp_path / "pictures", tmp_path / "truth.csv"
    save(folder, "a.png", pictures(1, 4, 4, 3)[0])
    truth.write_text(text)
    with pytest.raises(EllcError) as caught:
        open_data(folder, DataOptions(truth, column))
    assert caught.value.code == "E771"
