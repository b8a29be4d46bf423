"""Run the engines of the comparison tool on 8-bit networks; `peers.py` runs this file for that.

The tool, in the folder that ELLC_PEERS_TOOL names, supports only float networks. Its other scripts
import this module under the name of the tool's module, so it must work without ellc.
"""

import importlib.util
import json
import os

_PATH = os.path.join(os.environ["ELLC_PEERS_TOOL"], "peers.py")
_SPEC = importlib.util.spec_from_file_location("tool_peers", _PATH)
tool = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(tool)


class _Bytes:
    """Random bytes as input, of the type in the description of the network."""

    def __init__(self, arguments):
        super().__init__(arguments)
        with open(os.path.splitext(arguments.model)[0] + ".json", encoding="utf-8") as file:
            self.type = self.np.dtype(json.load(file)["type"])
        limits = self.np.iinfo(self.type)
        rng = self.np.random.default_rng(7)
        self.x = rng.integers(limits.min, limits.max + 1, self.ish).astype(self.type)


class LiteRT(_Bytes, tool.TFLite):
    """LiteRT with the same file as ellc."""


class OnnxRuntime(_Bytes, tool.Ort):
    """ONNX Runtime with an ONNX file of the same network, if there is one."""

    def load(self):
        session = self.ort.InferenceSession(
            self.onnx, self._options(), providers=["CPUExecutionProvider"]
        )
        binding = session.io_binding()
        self.x = self.np.asarray(self.x.transpose(0, 2, 3, 1), order="C")
        binding.bind_cpu_input(session.get_inputs()[0].name, self.x)
        self.y = self.np.zeros(self.osh, self.type)
        address = self.y.ctypes.data
        name = session.get_outputs()[0].name
        binding.bind_output(name, "cpu", 0, self.type, self.osh, address)
        self.kept = (session, binding)
        self.run = lambda: session.run_with_iobinding(binding)

    def _options(self):
        options = self.ort.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = self.threads, 1
        return options


class Ellc(_Bytes, tool.Ellc):
    """ellc's library. Its bytes are in the tool's float buffers, which are larger than needed."""

    def load(self):
        super().load()
        pixels = self.np.asarray(self.x.transpose(0, 2, 3, 1), order="C").ravel()
        self.xin.view(self.type)[: pixels.size] = pixels

    def out(self):
        return self.y.view(self.type)[: int(self.np.prod(self.osh))]


PEERS = {"ort": OnnxRuntime, "tflite": LiteRT, "ellc": Ellc}

if __name__ == "__main__":
    # The tool starts its workers with the file in `__file__`, which must be this one.
    tool.PEERS, tool.__file__ = PEERS, os.path.abspath(__file__)
    tool.main()
