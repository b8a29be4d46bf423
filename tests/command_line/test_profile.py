"""`ellc profile`: figures, labels, files for other viewers, and its page in a browser."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from browser import browser_tab, find_browser
from hostile_texts import PLACES, TEXTS, network
from small_networks import convolution_network, ready

from ellc.codegen.machine.resolve import resolve
from ellc.explain.cycle_tool import VARIABLE
from ellc.explain.study import Study, StudyOptions, study
from ellc.ir.container import save
from ellc.profile.bounds import CORTEX_A53, Bounds
from ellc.profile.chrome_trace import chrome_trace
from ellc.profile.costs import Costs, costs
from ellc.profile.figures import LABELS, Phase, Profile
from ellc.profile.model_explorer import node_data
from ellc.profile.page import page
from ellc.profile.profiler import live_bytes, profile
from ellc.profile.report import document, text

PHASES = (
    Phase("compile", 1, 800.0, 800.0, 800.0, (("planning", 300.0), ("code", 500.0))),
    Phase("steady call", 9, 0.2, 0.25, 0.5),
)


@pytest.fixture(scope="module")
def small() -> Study:
    return study(convolution_network("net"), resolve("pi3_64"), StudyOptions(threads=1))


def predicted(found: Study) -> Profile:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(VARIABLE, raising=False)
        return profile(found, costs(found, 1), PHASES)


@pytest.fixture(scope="module")
def by_slots(small: Study) -> Profile:
    return predicted(small)


@pytest.fixture(scope="module")
def by_cycles(small: Study) -> Profile:
    """A profile in which cycles are twice the slots, plus 100 cycles between kernels."""
    doubled = {value: 2 * slots for value, slots in small.node_slots.items()}
    return profile(small, Costs("cycles", doubled, 2 * small.all_slots + 100, CORTEX_A53), PHASES)


def test_layers_and_what_is_between_are_the_whole(by_cycles: Profile, by_slots: Profile) -> None:
    for found, between in ((by_cycles, 100), (by_slots, 0)):
        spent = sum(layer.figures.cost for layer in found.layers)
        assert found.between == pytest.approx(between)
        assert spent + found.between == pytest.approx(found.whole)
        assert sum(kind.figures.cost for kind in found.kinds) == pytest.approx(spent)
        assert sum(kind.layers for kind in found.kinds) == len(found.layers)
        assert found.macs == sum(kind.figures.macs for kind in found.kinds) > 0


def test_fractions_of_the_bounds(by_cycles: Profile, by_slots: Profile) -> None:
    first = by_cycles.layers[0]
    f = first.figures
    assert (first.layers[0], first.kind) == ("conv1", "conv2d")
    assert f.macs == 9 * 11 * 6 * 27 and f.of_peak == pytest.approx(f.macs / 4 / f.cost)
    assert f.of_memory == pytest.approx(f.moved_bytes / 2 / f.cost)
    assert all(layer.figures.of_memory is None for layer in by_slots.layers)
    kind = next(k for k in by_cycles.kinds if k.kind == "conv2d").figures
    assert kind.of_peak == pytest.approx(kind.macs / 4 / kind.cost)


def test_peaks_that_are_not_known_are_not_shown(small: Study) -> None:
    found = profile(small, Costs("time", small.node_slots, small.all_slots, Bounds()))
    assert {layer.figures.of_peak for layer in found.layers} == {None}
    assert "peak of" not in text(found) and "%" in text(found)


def test_live_bytes_are_those_of_the_arena(small: Study, by_slots: Profile) -> None:
    live = live_bytes(small.plan)
    assert len(live) == len(small.plan.steps)
    lives = small.plan.arena.lifetimes
    assert list(live) == [sum(x.bytes for x in lives if x.first <= n <= x.last)
                          for n in range(len(live))]  # fmt: skip
    assert max(layer.live_bytes for layer in by_slots.layers) == max(live) <= by_slots.arena_bytes


def test_every_output_says_what_the_costs_are(
    small: Study, by_cycles: Profile, by_slots: Profile
) -> None:
    for found in (by_cycles, by_slots, replace(by_slots, measure="time")):
        label = LABELS[found.measure]
        shown = page(small, found)
        assert text(found).splitlines()[1] == label and label.replace("'", "&#x27;") in shown
        assert document(found)["label"] == chrome_trace(found)["otherData"]["costs"] == label
        assert "conv1" in text(found) and "steady call" in text(found)


def test_the_document_is_json(by_cycles: Profile) -> None:
    found = json.loads(json.dumps(document(by_cycles), allow_nan=False))
    assert found["measure"] == "cycles" and found["bounds"]["macs"]["float"] == 4
    assert [phase["name"] for phase in found["phases"]] == ["compile", "steady call"]
    assert found["layers"][0]["figures"]["share"] == by_cycles.layers[0].figures.share


def test_the_trace_is_one_call(by_cycles: Profile) -> None:
    events = json.loads(json.dumps(chrome_trace(by_cycles), allow_nan=False))["traceEvents"]
    assert {event["ph"] for event in events} == {"M", "X", "C"}
    bars = [event for event in events if event["ph"] == "X"]
    for thread in {event["tid"] for event in bars}:  # the bars of a thread do not overlap
        own = [event for event in bars if event["tid"] == thread]
        ends = [0.0, *(event["ts"] + event["dur"] for event in own)]
        assert [event["ts"] for event in own] == pytest.approx(ends[:-1])
        assert ends[-1] == pytest.approx((by_cycles.whole - by_cycles.between) / 1000)
    (named,) = [e["args"]["name"] for e in events if e["name"] == "process_name"]
    assert "modelled" in named and "as 1 ns" in named


def test_node_data_keep_sums_and_the_names_of_the_model(by_cycles: Profile) -> None:
    data = node_data(by_cycles)
    results = {key: value["value"] for key, value in data["results"].items()}
    assert list(results) == ["conv1", "relu1", "pool1", "conv2"] and results["relu1"] == 0
    assert sum(results.values()) == pytest.approx(by_cycles.whole - by_cycles.between)
    stops = [stop["stop"] for stop in data["gradient"]]
    assert stops == sorted(stops) and (stops[0], stops[-1]) == (0, 1)


@pytest.mark.parametrize("place", PLACES)
def test_names_of_a_model_stay_text(place: str) -> None:
    hostile = "".join(TEXTS)
    harmless = re.sub("[^;]", "x", hostile)
    tags = []
    for name in (hostile, harmless):
        found = study(network(name, place), resolve("pi3_64"), StudyOptions(threads=1))
        made = predicted(found)
        tags.append(re.findall(r"<[a-zA-Z/!][^ >]*", page(found, made)))
        json.dumps([chrome_trace(made), node_data(made)]).encode()
    assert [tag for tag in tags[0] if "text" not in tag] == [t for t in tags[1] if "text" not in t]


def test_the_page_works_in_a_browser(small: Study, by_cycles: Profile, tmp_path: Path) -> None:
    program = find_browser()
    if program is None:
        pytest.skip("no Chromium found: on Debian, apt-get install chromium-headless-shell")
    (tmp_path / "page.html").write_text(page(small, by_cycles), encoding="utf-8")
    with browser_tab(program, tmp_path / "profile") as tab:
        tab.open((tmp_path / "page.html").as_uri(), 1000, 800)
        assert tab.errors == [] and len(tab.requests) == 1
        count = "document.querySelectorAll('{}').length"
        spending = [layer for layer in by_cycles.layers if layer.figures.cost]
        assert tab.evaluate(count.format('.flame [class^="kind"]')) == len(spending)
        assert tab.evaluate(count.format(".roofline circle")) == 2
        assert tab.evaluate(count.format(".arena .life")) == len(small.plan.arena.lifetimes)
        shown = tab.evaluate("document.body.innerText")
        for told in (by_cycles.label, "max_pool2d", "steady call", "between the layers"):
            assert told in shown
        assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.slow
def test_the_command_measures_here_and_writes_all_files(tmp_path: Path, ellc_command) -> None:
    if sys.platform != "linux":
        pytest.skip("libraries are timed on Linux")
    save(ready(convolution_network("net")), tmp_path / "m.eir")
    files = ("--html", "p.html", "--chrome-trace", "t.json", "--model-explorer", "n.json")
    done = ellc_command("profile", "m.eir", "--seconds", "0.05", *files, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["measure"] == "time" and found["unit"] == "µs"
    assert found["bounds"]["macs"]["float"] > 0 and found["bounds"]["bytes"] > 0
    names = [phase["name"] for phase in found["phases"]]
    assert names == ["compile", "load", "first call", "steady call"]
    assert all(
        0 < phase["fastest_ms"] <= phase["median_ms"] <= phase["p90_ms"]
        for phase in found["phases"]
    )
    spent = sum(layer["figures"]["cost"] for layer in found["layers"])
    assert 0.5 * found["whole"] < spent <= found["whole"]
    assert (tmp_path / "p.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert json.loads((tmp_path / "t.json").read_text())["traceEvents"]
    assert "conv1" in json.loads((tmp_path / "n.json").read_text())["results"]


def test_a_library_has_no_profile(tmp_path: Path, ellc_command) -> None:
    assert "E706" in ellc_command("profile", "libnet.so").stderr
