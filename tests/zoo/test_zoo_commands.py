"""`ellc zoo list` and `ellc zoo build`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from determinism import assert_same_bytes_twice

from ellc.zoo import networks

SEED_NETWORK = "d_I224x224x3NCMNCMNBMNBMNBMNBMNC1A"


@pytest.mark.slow
def test_list_as_table_and_as_json(ellc_command) -> None:
    text = ellc_command("zoo", "list")
    assert text.returncode == 0 and text.stderr == ""
    rows = json.loads(ellc_command("zoo", "list", "--json").stdout)
    assert [row["name"] for row in rows] == [network.name for network in networks()]
    lines = text.stdout.splitlines()[1:]
    assert [line.split()[0] for line in lines[:-1]] == [row["name"] for row in rows]
    assert "mobilenet_v1_<width>_<size>" in lines[-1]
    assert rows[0]["inferred"]["windows and strides"] == "table"
    assert rows[0]["formats"] == [".ell", ".eir"] and rows[20]["formats"] == [".eir"]


@pytest.mark.slow
def test_show_tells_what_is_published_and_what_is_measured(ellc_command) -> None:
    text = ellc_command("zoo", "show", "mobilenet_v1_0.25_128")
    assert text.returncode == 0, text.stderr
    for part in ("6.53  i.MX 8M Plus", "0.47 M", "13,570,304", "additions of biases"):
        assert part in text.stdout
    shown = json.loads(ellc_command("zoo", "show", "mobilenet_v1_0.25_128", "--json").stdout)
    assert shown["measured"]["macs"] == 13_570_304
    assert shown["accuracies"][0]["top1"] == 41.5
    cited = {x["source"] for kind in ("accuracies", "speeds") for x in shown[kind]}
    assert cited <= set(shown["sources"])
    page = ellc_command("zoo", "show", SEED_NETWORK).stdout
    assert "packed" in page and "windows and strides: table" in page


@pytest.mark.slow
def test_compile_and_inspect_are_those_of_the_commands(tmp_path: Path, ellc_command) -> None:
    options = ("--emit", "c", "--name", "net", "--json")
    made = json.loads(ellc_command("zoo", "compile", "lenet5", "-o", "zoo", *options).stdout)
    assert ellc_command("zoo", "build", "lenet5", "-o", "lenet5.eir").returncode == 0
    plain = json.loads(ellc_command("compile", "lenet5.eir", "-o", "file", *options).stdout)
    assert made["files"] == plain["files"]
    for file in made["files"]:
        assert (tmp_path / "zoo" / file).read_bytes() == (tmp_path / "file" / file).read_bytes()
    inspected = ellc_command("zoo", "inspect", "lenet5")
    assert inspected.returncode == 0, inspected.stderr
    assert inspected.stdout == ellc_command("inspect", "lenet5.eir").stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "lenet5.eir", "zoo"]


@pytest.mark.slow
def test_what_was_built_can_be_inspected(tmp_path: Path, ellc_command) -> None:
    done = ellc_command("zoo", "build", SEED_NETWORK, "-o", "seed.ell")
    assert done.returncode == 0, done.stderr
    assert done.stderr == "", "there must be no progress output in a pipe"
    assert done.stdout.startswith("seed.ell: 7,742,419 parameters, ")
    shown = json.loads(ellc_command("inspect", "seed.ell", "--json").stdout)
    assert shown["outputs"][0]["shape"] == [1, 1, 1, 1000]
    assert [path.name for path in tmp_path.iterdir()] == ["seed.ell"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["AlexNet", "CaffeNet"])
def test_caffes_networks_as_eir(name: str, tmp_path: Path, ellc_command) -> None:
    done = ellc_command("zoo", "build", name, "-o", "a.eir", "--width", "1/16", "--json")
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout)
    assert made["width"] == "1/16" and made["bytes"] == (tmp_path / "a.eir").stat().st_size
    assert ellc_command("inspect", "a.eir").returncode == 0


@pytest.mark.slow
def test_the_same_bytes_whatever_folder_and_hash_seed(tmp_path: Path, ellc_command) -> None:
    def build_there(folder: Path, hash_seed: str) -> None:
        for file in ("a.ell", "a.eir"):
            done = ellc_command(
                *("zoo", "build", SEED_NETWORK, "-o", file, "--width", "1/8", "--seed", "7"),
                cwd=folder,
                env={"PYTHONHASHSEED": hash_seed},
            )
            assert done.returncode == 0, done.stderr

    assert set(assert_same_bytes_twice(build_there, tmp_path)) == {"a.ell", "a.eir"}


@pytest.mark.parametrize(
    ("args", "code", "text"),
    [
        (("d_I224x224x3", "-o", "a.ell"), "E740", "ellc zoo list"),
        (("Asparagus", "-o", "a.ell"), "E740", "ONNX"),
        (("mobilenet_v1_0_128", "-o", "a.eir"), "E740", "mean mobilenet_v1_0.25_128"),
        (("AlexNet", "-o", "a.ell"), "E742", ".eir"),
        ((SEED_NETWORK, "-o", "a.onnx"), "E742", ".ell or .eir"),
        ((SEED_NETWORK, "-o", "a.ell", "--width", "0"), "E741", "1/16"),
        ((SEED_NETWORK, "-o", "a.ell", "--width", "wide"), "E741", "'wide'"),
        ((SEED_NETWORK, "-o", "a.ell", "--width", "1/0"), "E741", "'1/0'"),
        (("AlexNet", "-o", "no/such/a.eir"), "E703", "no/such"),
    ],
)
def test_bad_input_is_exit_2_and_leaves_nothing(
    args: tuple[str, ...], code: str, text: str, tmp_path: Path, ellc_command
) -> None:
    done = ellc_command("zoo", "build", *args)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith(f"error[{code}]") and text in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_negative_seed_is_wrong_usage(ellc_command) -> None:
    done = ellc_command("zoo", "build", SEED_NETWORK, "-o", "a.ell", "--seed", "-1")
    assert done.returncode == 2 and "--seed" in done.stderr
