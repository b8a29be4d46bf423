"""Archives: parsing and writing; reading, writing and reading again changes nothing."""

from __future__ import annotations

import io
import random
import string
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from ell_samples import ALL_TEXTS, BINARY_LAYER, DUPLICATE_KEYS, HISTORIC, PREDICTOR

from ellc.frontends.ell.archive import archive_of, read_archive
from ellc.frontends.ell.json_text import parse_json_text
from ellc.frontends.ell.values import ArchiveObject, ArchiveValue, same_value
from ellc.frontends.ell.writer import archive_bytes, write_archive
from ellc.ir.errors import EllcError
from ellc.ir.limits import Limits


def parse(text: str | bytes, limits: Limits | None = None) -> ArchiveObject:
    data = text.encode() if isinstance(text, str) else text
    value = parse_json_text(data, limits or Limits())
    assert isinstance(value, ArchiveObject)
    return value


@pytest.mark.parametrize("name", sorted(ALL_TEXTS))
def test_read_write_read_is_the_identity(name: str) -> None:
    first = parse(ALL_TEXTS[name])
    text = archive_bytes(first)
    assert parse(text) == first
    assert archive_bytes(parse(text)) == text


def test_duplicate_keys_are_kept_in_order() -> None:
    node = parse(DUPLICATE_KEYS)
    kinds = [item.type for item in node.all("activation") if isinstance(item, ArchiveObject)]
    assert kinds == ["TanhActivation<float>", "SigmoidActivation<float>"]
    assert [key for key, _ in node.fields] == ["id", "hiddenUnits", "activation", "activation"]
    assert archive_bytes(node).count(b'"activation"') == 2


def test_versions_are_absent_or_kept() -> None:
    assert parse(HISTORIC).version is None
    assert b"_version" not in archive_bytes(parse(HISTORIC))
    assert parse(PREDICTOR).version == "2"


def test_unsigned_words_are_exact() -> None:
    words = parse(BINARY_LAYER).get("binarizedWeights_values")
    assert isinstance(words, np.ndarray)
    assert words.dtype == np.uint64
    assert words.tolist() == [18446744073709289473]
    assert b"[18446744073709289473]" in archive_bytes(parse(BINARY_LAYER))


@pytest.mark.parametrize(
    ("body", "dtype", "values"),
    [
        ("[1, 2, 3]", np.int64, [1, 2, 3]),
        ("[-1,2]", np.int64, [-1, 2]),
        ("[-9223372036854775808, 9223372036854775807]", np.int64, [-(2**63), 2**63 - 1]),
        ("[18446744073709551615]", np.uint64, [2**64 - 1]),
        ("[9223372036854775809, 0]", np.uint64, [2**63 + 1, 0]),
        ("[18446744073709551616, 1]", np.float64, [2.0**64, 1.0]),
        ("[1, 2.5]", np.float64, [1.0, 2.5]),
        ("[-0, 1]", np.float64, [-0.0, 1.0]),
        ("[\n1e-05 ,\t-3.402823e+38 ]", np.float64, [1e-05, -3.402823e38]),
        ("[inf, -inf, 1]", np.float64, [np.inf, -np.inf, 1]),
        ("[Infinity, -Infinity]", np.float64, [np.inf, -np.inf]),
        ("[nan, -nan, NaN, 7]", np.float64, [np.nan, np.nan, np.nan, 7]),
    ],
)
def test_number_arrays(body: str, dtype: type, values: list[float]) -> None:
    found = parse(f'{{"x": {body}}}').get("x")
    assert isinstance(found, np.ndarray)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, np.array(values, dtype))
    assert not found.flags.writeable
    assert np.signbit(found.astype(float)).tolist() == np.signbit(np.array(values, float)).tolist()


def test_scalars_and_strings() -> None:
    found = parse(r"""{"a": nan, "b": -inf, "c": true, "d": null, "e": 12, "f": 1.5e3, "g": [],
        "h": "\'\"\\\/\n\r\t\b\fé\u00e9\ud83d\ude00", "i": ["x", 1], "j": [true, false],
        "k": [[1],[]],
        "l": 99999999999999999999999999, "m": {}, "n": -0 }""")
    values = dict(found.fields)
    assert values["a"] != values["a"]
    assert values["b"] == -np.inf
    assert values["c"] is True
    assert values["d"] is None
    assert (values["e"], values["f"], values["g"]) == (12, 1500.0, ())
    assert values["h"] == "'\"\\/\n\r\t\b\féé😀"
    assert values["i"] == ("x", 1)
    assert values["j"] == (True, False)
    assert values["l"] == 99999999999999999999999999.0
    assert values["m"] == ArchiveObject(None, None)
    assert str(values["n"]) == "-0.0"
    assert parse(archive_bytes(found)) == found


def test_floats_have_nine_digits_and_doubles_seventeen() -> None:
    tenth = np.array([0.1, 1 / 3], np.float32)
    single = ArchiveObject("BiasLayer<float>", "0", (("bias", tenth), ("epsilon", 0.1)))
    double = ArchiveObject("BiasLayer<double>", "0", (("bias", np.array([0.1])), ("epsilon", 0.1)))
    assert b"[0.100000001, 0.333333343]" in archive_bytes(single)
    assert b'"epsilon": 0.100000001' in archive_bytes(single)
    assert b"[0.10000000000000001]" in archive_bytes(double)
    again = parse(archive_bytes(single)).get("bias")
    assert isinstance(again, np.ndarray)
    assert again.dtype == np.float32
    assert again.tobytes() == tenth.tobytes()


def test_every_float_and_double_survives() -> None:
    rng = np.random.default_rng(5)
    bits = rng.integers(0, 2**32, 50_000, dtype=np.uint64).astype(np.uint32)
    floats = bits.view(np.float32)
    doubles = rng.integers(0, 2**63, 50_000, dtype=np.uint64).view(np.float64)
    tree = ArchiveObject(
        None,
        None,
        (
            ("f", ArchiveObject("A<float>", "0", (("x", floats[np.isfinite(floats)]),))),
            ("d", ArchiveObject("A<double>", "0", (("x", doubles[np.isfinite(doubles)]),))),
        ),
    )
    assert parse(archive_bytes(tree)) == tree


def random_value(rng: random.Random, depth: int, single: bool) -> ArchiveValue:
    match rng.randrange(10 if depth else 7):
        case 0:
            return rng.choice([True, False, None])
        case 1:
            return rng.choice([0, -1, 2**64 - 1, -(2**63), rng.randrange(10**6)])
        case 2:
            return rng.choice([0.5, -0.0, 1e-300, float("nan"), float("-inf"), rng.random()])
        case 3:
            return "".join(rng.choices(string.printable + "é漢😀\x01", k=rng.randrange(12)))
        case 4:
            return np.array([rng.uniform(-9, 9) for _ in range(rng.randrange(1, 40))])
        case 5:
            return np.array([rng.randrange(2**64) for _ in range(3)], np.uint64)
        case 6:
            return np.array([rng.randrange(-9, 9) for _ in range(3)])
        case 7:
            return tuple(random_value(rng, depth - 1, single) for _ in range(rng.randrange(4)))
        case _:
            return random_object(rng, depth - 1)


def random_object(rng: random.Random, depth: int) -> ArchiveObject:
    kind = rng.choice(["A<float>", "B<double>", "C", None])
    keys = [rng.choice(["x", "y", "activation", "it's"]) for _ in range(rng.randrange(6))]
    fields = tuple((key, random_value(rng, depth, kind == "A<float>")) for key in keys)
    return ArchiveObject(kind, rng.choice(["0", "8", None]), fields)


@pytest.mark.parametrize("seed", range(150))
def test_random_archives_survive(seed: int) -> None:
    tree = random_object(random.Random(seed), 4)
    text = archive_bytes(tree)
    assert parse(text) == tree
    assert archive_bytes(parse(text)) == text


def test_comparison_tells_values_apart() -> None:
    assert same_value(np.array([1, 2]), np.array([1.0, 2.0]))
    assert same_value((), np.zeros(0))
    assert not same_value(np.array([1, 2]), np.array([1, 3]))
    assert not same_value(np.array([2**63], np.uint64), np.array([2**63 + 1], np.uint64))
    assert not same_value(True, 1)
    assert not same_value("1", 1)
    assert not same_value((1,), np.array([1]))
    assert parse(DUPLICATE_KEYS) != parse(DUPLICATE_KEYS.replace("Tanh", "HardTanh"))


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ('{"a": 1,\n "b": tru}', "line 2, column 7", "tru"),
        ('{"a": 1,\n "b": }', "line 2, column 7", "expected a value"),
        ('{"a": [1, 2,, 3]}', "line 1, column 13", "missing"),
        ('{"a": [1, 2, 3-4]}', "line 1, column 14", "'3-4'"),
        ('{"a": [1, 2, "x]}', "line 1, column 14", "no closing quote"),
        ('{"a" 1}', "line 1, column 6", "expected ':'"),
        ('{"a": 1 "b": 2}', "line 1, column 9", "expected ','"),
        ('{"a": 1} {}', "line 1, column 10", "more text"),
        ('{"a": "\\q"}', "line 1, column 7", "escape"),
        ('{"a": "\\ud800"}', "line 1, column 7", "surrogate"),
        ('{"a": {"b": [{"c": [', "line 1, column 21", "(in a.b[0].c[0])"),
        ("", "line 1, column 1", "ends here"),
        ("<Model/>", "line 1, column 1", "'<'"),
        ("{'a': 1}", "line 1, column 2", '"\'"'),
        ('{"a": [1, 2,]}', "line 1, column 13", "missing"),
    ],
)
def test_syntax_errors_tell_the_place(text: str, place: str, words: str) -> None:
    with pytest.raises(EllcError) as caught:
        parse(text)
    assert caught.value.code == "E202"
    assert caught.value.where == place
    assert words in caught.value.message


@pytest.mark.parametrize(
    ("text", "limits"),
    [
        ("[" * 100 + "]" * 100, Limits()),
        ('{"a":' * 100 + "1" + "}" * 100, Limits()),
        ("[" + "{}," * 50 + "{}]", Limits(values=20)),
        ('["' + "x" * 100 + '"]', Limits(string_bytes=50)),
        ("[1,2,3,4,5,6]", Limits(tensor_elements=5)),
    ],
)
def test_limits(text: str, limits: Limits) -> None:
    with pytest.raises(EllcError) as caught:
        parse_json_text(text.encode(), limits)
    assert caught.value.code == "E203"


def test_shapes_are_multiplied_out_before_anything_is_allocated() -> None:
    assert Limits().product((3, 4, 5), where="x") == 60
    for shape in ((1 << 31, 1 << 31, 1 << 31), (-1, 5)):
        with pytest.raises(EllcError) as caught:
            Limits().product(shape, where="model.nodes[3]")
        assert caught.value.where == "model.nodes[3]"


def zipped(*members: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return buffer.getvalue()


def test_zip(tmp_path: Path) -> None:
    text = PREDICTOR.encode()
    plain = read_archive(text)
    assert read_archive(zipped(("model.ell", text))).root == plain.root
    stored = zipped(("a.txt", b"hi"), ("dir/m.ell", text), method=zipfile.ZIP_STORED)
    assert read_archive(stored).root == plain.root
    path = tmp_path / "m.ell.zip"
    path.write_bytes(zipped(("m.ell", text)))
    assert read_archive(path).root == plain.root
    assert read_archive(path).name == "m.ell.zip"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (zipped(), "E201"),
        (zipped(("a.ell", b"{}"), ("b.ell", b"{}")), "E201"),
        (zipped(("a.ell", b"{}"), method=zipfile.ZIP_BZIP2), "E201"),
        (zipped(("a.ell", PREDICTOR.encode()))[:200], "E201"),
        (zipped(("a.ell", b" " * 5_000_000)), "E203"),
    ],
)
def test_bad_zips(data: bytes, code: str) -> None:
    with pytest.raises(EllcError) as caught:
        read_archive(data, Limits(unpacked_bytes=1_000_000))
    assert caught.value.code == code


def test_files(tmp_path: Path) -> None:
    with pytest.raises(EllcError) as caught:
        read_archive(tmp_path / "none.ell")
    assert caught.value.code == "E201"
    path = tmp_path / "m.ell"
    root = read_archive(PREDICTOR.encode()).root
    write_archive(root, path)
    write_archive(root, path)
    assert [p.name for p in tmp_path.iterdir()] == ["m.ell"]
    assert read_archive(path).root == root
    with pytest.raises(EllcError) as caught:
        read_archive(path, Limits(file_bytes=100))
    assert caught.value.code == "E203"
    with pytest.raises(EllcError) as caught:
        write_archive(root, tmp_path / "no" / "m.ell")
    assert caught.value.code == "E207"


def big_archive(floats: int) -> bytes:
    rng = np.random.default_rng(3)
    weights = rng.normal(size=floats).astype(np.float32)
    words = rng.integers(0, 2**64 - 1, floats // 20, dtype=np.uint64)
    fields = (("weights_values", weights), ("binarizedWeights_values", words))
    return archive_bytes(ArchiveObject("ConvolutionalLayer<float>", "0", fields))


@pytest.mark.slow
def test_twenty_megabytes_read_in_a_few_seconds() -> None:
    data = big_archive(1_500_000)
    assert len(data) > 20_000_000
    start = time.perf_counter()
    found = parse(data)
    assert time.perf_counter() - start < 3
    weights = found.get("weights_values")
    assert isinstance(weights, np.ndarray)
    assert weights.dtype == np.float32
    assert weights.size == 1_500_000


def read_or_refuse(data: bytes) -> None:
    """Read an archive; any failure but `EllcError` is passed on to the test."""
    try:
        read_archive(data, Limits(values=100_000))
    except EllcError as error:
        assert error.code.startswith("E2")
        assert error.report()


@pytest.mark.parametrize("name", sorted(ALL_TEXTS))
def test_truncated_files(name: str) -> None:
    data = ALL_TEXTS[name].encode()
    for length in range(0, len(data), 7):
        read_or_refuse(data[:length])


@pytest.mark.parametrize("name", ["predictor", "historic", "bare"])
def test_mutated_files(name: str) -> None:
    rng = random.Random(name)
    original = ALL_TEXTS[name].encode()
    for _ in range(400):
        data = bytearray(original)
        for _ in range(rng.randrange(1, 6)):
            at = rng.randrange(len(data))
            match rng.randrange(4):
                case 0:
                    data[at] = rng.randrange(256)
                case 1:
                    del data[at : at + rng.randrange(1, 30)]
                case 2:
                    data[at:at] = rng.choice([b"-", b"[", b"{", b'"', b"9999999999", b"nan", b","])
                case _:
                    other = rng.randrange(len(data))
                    data[at:at] = data[other : other + rng.randrange(1, 40)]
        read_or_refuse(bytes(data))


def test_zip_noise() -> None:
    rng = random.Random(1)
    original = zipped(("m.ell", PREDICTOR.encode()))
    for _ in range(300):
        data = bytearray(original)
        for _ in range(rng.randrange(1, 4)):
            data[rng.randrange(4, len(data))] = rng.randrange(256)
        read_or_refuse(bytes(data))


def test_typed_view_of_a_bare_object_tree() -> None:
    with pytest.raises(EllcError) as caught:
        archive_of(parse('{"_type": "LinearPredictor"}'))
    assert caught.value.code == "E204"
