"""Small archives written by hand, one for each variant of the format."""

from __future__ import annotations

PREDICTOR = r"""
{ "_type": "Map", "_version": "2",
  "model": { "_type": "Model", "_version": "2", "nodes": [
    { "_type": "InputNode<float>", "_version": "2", "id":       "10",
      "layout": { "_type": "MemoryLayout", "_version": "0", "size": [4, 4, 1],
                  "extent": [4, 4, 1], "offset": [0, 0, 0], "order": [0, 1, 2],
                  "increment": [4, 1, 1] } },
    { "_type": "NeuralNetworkPredictorNode<float>", "_version": "0", "id":       "11",
      "input": { "_type": "InputPort<float>", "_version": "0", "nodeId": "11", "name": "input",
                 "type": 1, "input":       "10.output" },
      "predictor": { "_type": "NeuralNetworkPredictor<float>", "_version": "1",
        "inputLayer": { "_type": "InputLayer<float>", "_version": "0",
          "inputPaddingScheme": 0, "inputPaddingSize": 0, "outputShape": [6, 6, 1],
          "outputPaddingScheme": 0, "outputPaddingSize": 1,
          "data_rows": 4, "data_columns": 4, "data_channels": 1,
          "data_values": [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], "scale": 1 },
        "layers": [
          { "_type": "ConvolutionalLayer<float>", "_version": "0",
            "inputPaddingScheme": 0, "inputPaddingSize": 1, "outputShape": [4, 4, 2],
            "outputPaddingScheme": 0, "outputPaddingSize": 0,
            "receptiveField": 3, "stride": 1, "method": 0, "numFiltersAtATime": 2,
            "weights_rows": 6, "weights_columns": 3, "weights_channels": 1,
            "weights_values": [0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1] },
          { "_type": "BiasLayer<float>", "_version": "0",
            "inputPaddingScheme": 0, "inputPaddingSize": 0, "outputShape": [4, 4, 2],
            "outputPaddingScheme": 0, "outputPaddingSize": 0, "bias": [0.5, -3] },
          { "_type": "ActivationLayer<float>", "_version": "0",
            "inputPaddingScheme": 0, "inputPaddingSize": 0, "outputShape": [4, 4, 2],
            "outputPaddingScheme": 0, "outputPaddingSize": 0,
            "activation": { "_type": "ReLUActivation<float>", "_version": "0" } } ],
        "output": [0, 1e-05, nan, -inf] } },
    { "_type": "OutputNode<float>", "_version": "2", "id": "12",
      "input": { "_type": "InputPort<float>", "_version": "0", "nodeId": "12", "name": "input",
                 "type": 1, "input": "11.output" },
      "layout": { "_type": "MemoryLayout", "_version": "0", "size": [4, 4, 2],
                  "extent": [4, 4, 2], "offset": [0, 0, 0], "order": [0, 1, 2],
                  "increment": [8, 2, 1] } } ] },
  "inputNames": ["input"], "inputIds": ["10"], "outputNames": ["output"],
  "outputElements": ["12.output"],
  "metadata": { "_type": "PropertyBag", "_version": "0", "data": [
    { "_type": "PropertyBag::KeyValue", "_version": "0", "k": "it\'s a \"name\"\/x",
      "v": { "_type": "Variant", "_version": "0", "type": "std::string", "value": "b\\s\n" } },
    { "_type": "PropertyBag::KeyValue", "_version": "0", "k": "none",
      "v": { "_type": "Variant", "_version": "0", "type": "void" } },
    { "_type": "PropertyBag::KeyValue", "_version": "0", "k": "compileOptions",
      "v": { "_type": "Variant", "_version": "0", "type": "PropertyBag", "value":
        { "_type": "PropertyBag", "_version": "0", "data": [
          { "_type": "PropertyBag::KeyValue", "_version": "0", "k": "parallelize",
            "v": { "_type": "Variant", "_version": "0", "type": "bool", "value": true } },
          { "_type": "PropertyBag::KeyValue", "_version": "0", "k": "depths",
            "v": { "_type": "Variant", "_version": "0", "type": "vector<int>",
                   "value": [1, 2] } } ] } } } ] } }
"""

BINARY_LAYER = r"""
{ "_type": "BinaryConvolutionalLayer<float>", "_version": "0",
  "inputPaddingScheme": 0, "inputPaddingSize": 1, "outputShape": [5, 5, 1],
  "outputPaddingScheme": 0, "outputPaddingSize": 0,
  "receptiveField": 3, "stride": 1, "method": 1, "weightsScale": 0,
  "binarizedWeights_numVectors": 1, "binarizedWeights_values": [18446744073709289473],
  "filterMeans": [0.25] }
"""

# Before mid-2017: without versions, with explicit slices, several ranges, the old layout name.
HISTORIC = r"""
{ "_type": "SteppableMap<std::chrono::steady_clock>",
  "model": { "_type": "Model", "nodes": [
    { "_type": "InputNode<double>", "id": "1740", "size": 4 },
    { "_type": "ConstantNode<double>", "id": "1742", "values": [2, 2.5, 0.1] },
    { "_type": "BinaryOperationNode<double>", "id": "1743",
      "input1": { "_type": "InputPort<double>", "nodeId": "1743", "name": "input1", "type": 1,
                  "input": "{1740.output[3], 1740.output[0:2]}" },
      "input2": { "_type": "InputPort<double>", "nodeId": "1743", "name": "input2", "type": 1,
                  "input": "1742.output[0:3]" },
      "operation": "coordinatewiseMultiply" },
    { "_type": "OutputNode<double>", "id": "1744",
      "input": { "_type": "InputPort<double>", "nodeId": "1744", "name": "input", "type": 1,
                 "input": "1743.output[0:3]" } } ] },
  "inputNames": ["input"], "inputIds": ["1740"], "outputNames": ["output"],
  "outputElements": ["1744.output[0:3]"], "interval": 50, "lastSampleTime": -9.22337e+12 }
"""

# 2017/2018: the input has `size` and `shape`, PortMemoryLayout has a stride; an empty reference.
BARE_MODEL = r"""
{ "_type": "Model", "_version": "2", "nodes": [
  { "_type": "InputNode<float>", "_version": "2", "id": "1", "size": 6, "shape": [3, 1, 2] },
  { "_type": "ConstantNode<float>", "_version": "0", "id": "2", "values": [2, 3] },
  { "_type": "BroadcastLinearFunctionNode<float>", "_version": "0", "id": "3",
    "inputLayout": { "_type": "PortMemoryLayout", "_version": "0", "size": [3, 2],
                     "stride": [3, 2], "offset": [0, 0] },
    "outputLayout": { "_type": "PortMemoryLayout", "_version": "0", "size": [3, 2],
                      "stride": [3, 2], "offset": [0, 0] },
    "broadcastDimension": 1, "paddingValue": 0,
    "primaryInput": { "_type": "InputPort<float>", "_version": "0", "nodeId": "3",
                      "name": "primaryInput", "type": 1, "input": "1.output" },
    "secondaryInput1": { "_type": "InputPort<float>", "_version": "0", "nodeId": "3",
                         "name": "secondaryInput1", "type": 1, "input": "2.output" },
    "secondaryInput2": { "_type": "InputPort<float>", "_version": "0", "nodeId": "3",
                         "name": "secondaryInput2", "type": 1, "input": "{}" } },
  { "_type": "OutputNode<float>", "_version": "2", "id": "4",
    "input": { "_type": "InputPort<float>", "_version": "0", "nodeId": "4", "name": "input",
               "type": 1, "input": "3.output" }, "shape": [6, 1, 1] } ] }
"""

# The name of the activation is part of the layer's type, as in 2017.
OLD_ACTIVATION_LAYER = r"""
{ "_type": "ActivationLayer<float,LeakyReLUActivation>",
  "inputPaddingScheme": 0, "inputPaddingSize": 0, "outputShape": [2, 2, 1],
  "outputPaddingScheme": 0, "outputPaddingSize": 0, "leakyFactor": 0.01 }
"""

DUPLICATE_KEYS = r"""
{ "_type": "GRUNode<float>", "_version": "0", "id": "7", "hiddenUnits": 2,
  "activation": { "_type": "TanhActivation<float>", "_version": "0" },
  "activation": { "_type": "SigmoidActivation<float>", "_version": "0" } }
"""

ALL_TEXTS = {
    "predictor": PREDICTOR,
    "binary": BINARY_LAYER,
    "historic": HISTORIC,
    "bare": BARE_MODEL,
    "old_activation": OLD_ACTIVATION_LAYER,
    "duplicate": DUPLICATE_KEYS,
}
