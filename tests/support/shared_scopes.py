"""Let tests that share an expensive program run in the same process of `pytest -n`."""

from __future__ import annotations

import re
from typing import Any

from xdist.scheduler import LoadScopeScheduling

# Files whose tests share a program, a folder, an environment or many kernels.
_FILES = (
    *("constant_operands", "existing_kernels", "in_order", "forged_functions", "byte_loops"),
    *("operations", "replay", "emitted_api", "foreign_text", "onnx_nodes"),
    *("adapters", "js_module", "python_module", "hostile_model", "library_folders"),
    *("pages", "packaging", "app_cmake", "camera", "digits", "digits_files", "keyword_spotter"),
    *("deploy", "profile_on_board", "evaluate", "command", "manifest", "import", "profile"),
    *("gallery_looks", "gallery_site", "gallery_trial", "zoo_architectures", "zoo_weights"),
)
# The part of a test's name that says what the test shares.
_SHARED = re.compile(rf".*/(test_compiled_ops\.py::\w+\[\w+-\w+|test_({'|'.join(_FILES)})\.py)")
QUICK_S = 0.05
QUICK_TOGETHER = 16


class SharedScopes(LoadScopeScheduling):
    """Assigns tests that share something to one process, and other tests to any process.

    Units of many tests are assigned first. Most other units are a single quick test. So a process
    that has just run such a test gets several units at once, and need not wait for a message after
    each. Finished tests are removed from xdist's lists, which xdist scans after every test.
    """

    def _split_scope(self, nodeid: str) -> str:
        shared = _SHARED.match(nodeid)
        return shared.group() if shared else nodeid

    def schedule(self) -> None:
        names = next(iter(self.registered_collections.values()))
        self._places = {nodeid: place for place, nodeid in enumerate(names)}
        self._at_once: dict[Any, int] = {}
        super().schedule()

    def mark_test_complete(self, node: Any, item_index: int, duration: float = 0) -> None:
        nodeid = self.registered_collections[node][item_index]
        units, scope = self.assigned_work[node], self._split_scope(nodeid)
        del units[scope][nodeid]
        if not units[scope]:
            del units[scope]
        self._at_once[node] = QUICK_TOGETHER if duration < QUICK_S else 1
        self._reschedule(node)

    def _assign_work_unit(self, node: Any) -> None:
        places: list[int] = []
        for _ in range(self._at_once.get(node, 1)):
            if self.workqueue:
                scope, unit = self.workqueue.popitem(last=False)
                self.assigned_work[node][scope] = unit
                places += [self._places[nodeid] for nodeid in unit]
        node.send_runtest_some(places)
