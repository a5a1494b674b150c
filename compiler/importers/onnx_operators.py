"""The table of ONNX operators: which function turns each into ours."""

from collections.abc import Callable

from ..graph import Value
from ..ops.elementwise import Add, Div, Maximum, Minimum, Mul, Pow, Sub
from . import onnx_elementwise as elementwise
from . import onnx_linear as linear
from . import onnx_shape as shape
from .onnx_node import OnnxNode

OPERATORS: dict[str, Callable[[OnnxNode], Value | list[Value]]] = {
    "Abs": elementwise.unary("abs"),
    "Add": elementwise.binary(Add()),
    "ArgMax": shape.argmax,
    "AveragePool": linear.average_pool,
    "BatchNormalization": linear.batch_normalization,
    "Cast": elementwise.cast,
    "Ceil": elementwise.unary("ceil"),
    "Clip": elementwise.clip,
    "Concat": shape.concat,
    "Constant": shape.constant,
    "Conv": linear.conv,
    "DequantizeLinear": elementwise.dequantize_linear,
    "Div": elementwise.binary(Div()),
    "Dropout": shape.identity,
    "Elu": elementwise.elu,
    "Erf": elementwise.unary("erf"),
    "Exp": elementwise.unary("exp"),
    "Expand": shape.expand,
    "Flatten": shape.flatten,
    "Floor": elementwise.unary("floor"),
    "Gather": shape.gather,
    "Gelu": elementwise.gelu,
    "Gemm": linear.gemm,
    "GlobalAveragePool": linear.global_average_pool,
    "GlobalMaxPool": linear.global_max_pool,
    "HardSigmoid": elementwise.hard_sigmoid,
    "HardSwish": elementwise.hard_swish,
    "Identity": shape.identity,
    "LeakyRelu": elementwise.leaky_relu,
    "Log": elementwise.unary("log"),
    "LogSoftmax": shape.softmax(log=True),
    "MatMul": linear.matmul,
    "Max": elementwise.variadic(Maximum()),
    "MaxPool": linear.max_pool,
    "Mean": elementwise.mean,
    "Min": elementwise.variadic(Minimum()),
    "Mul": elementwise.binary(Mul()),
    "Neg": elementwise.negate,
    "PRelu": elementwise.prelu,
    "Pad": shape.pad,
    "Pow": elementwise.binary(Pow()),
    "QuantizeLinear": elementwise.quantize_linear,
    "Reciprocal": elementwise.reciprocal,
    "ReduceMax": shape.reduction("max"),
    "ReduceMean": shape.reduction("mean"),
    "ReduceMin": shape.reduction("min"),
    "ReduceProd": shape.reduction("prod"),
    "ReduceSum": shape.reduction("sum"),
    "Relu": elementwise.relu,
    "Reshape": shape.reshape,
    "Round": elementwise.unary("round"),
    "Shape": shape.shape,
    "Sigmoid": elementwise.unary("sigmoid"),
    "Slice": shape.slice_,
    "Softmax": shape.softmax(log=False),
    "Softplus": elementwise.unary("softplus"),
    "Split": shape.split,
    "Sqrt": elementwise.unary("sqrt"),
    "Squeeze": shape.squeeze,
    "Sub": elementwise.binary(Sub()),
    "Sum": elementwise.variadic(Add()),
    "Tanh": elementwise.unary("tanh"),
    "Transpose": shape.transpose,
    "Unsqueeze": shape.unsqueeze,
}

INSTEAD = {
    "ConvInteger": "; quantize with quant_format=QuantFormat.QDQ",
    "DynamicQuantizeLinear": "; quantize statically, with quantize_static",
    "MatMulInteger": "; quantize with quant_format=QuantFormat.QDQ",
    "QLinearConv": "; quantize with quant_format=QuantFormat.QDQ",
    "QLinearMatMul": "; quantize with quant_format=QuantFormat.QDQ",
}
"""What would do in the place of some operators that are not supported, to end a sentence."""
