"""The tensors of the Open Inference Protocol: what is taken, what is refused, what comes back."""

from __future__ import annotations

import json

import numpy as np
import pytest

from amir.errors import InputError
from amir.modality import Modality
from serve.open_inference.tensors import encoded, parse_inference

SLICES = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


def asked(**changed):
    """A request for two slices in JSON; None leaves a field out."""
    tensor = {"name": "degraded", "shape": [2, 3, 4], "datatype": "FP32", "data": SLICES.tolist()}
    tensor |= changed.pop("tensor", {})
    request = {"inputs": [tensor], "parameters": {"modality": "CT"}} | changed
    request["inputs"] = [
        {name: value for name, value in item.items() if value is not None}
        for item in request["inputs"]
    ]
    return json.dumps(request).encode()


def parse(body, json_length=None, most_voxels=1000):
    return parse_inference(body, json_length, most_voxels=most_voxels)


def code_of(body, json_length=None, **limits) -> str:
    with pytest.raises(InputError) as caught:
        parse(body, json_length, **limits)
    return caught.value.code


@pytest.mark.parametrize("data", [SLICES.tolist(), SLICES.ravel().tolist()], ids=["nested", "flat"])
def test_numbers_in_json_are_read_nested_or_flat(data):
    inference = parse(asked(tensor={"data": data}, id="a"))
    assert np.array_equal(inference.slices, SLICES)
    assert (inference.modality, inference.id, inference.scale) == (Modality.CT, "a", None)
    assert inference.outputs == {"restored": False, "outlier_score": False}


@pytest.mark.parametrize(
    ("datatype", "dtype"), [("FP32", "<f4"), ("FP16", "<f2"), ("INT16", "<i2"), ("UINT16", "<u2")]
)
def test_raw_numbers_follow_the_json(datatype, dtype):
    raw = SLICES.astype(dtype).tobytes()
    parameters = {"binary_data_size": len(raw)}
    tensor = {"datatype": datatype, "data": None, "parameters": parameters, "shape": [2, 1, 3, 4]}
    head = asked(tensor=tensor)
    inference = parse(head + raw, len(head))
    assert np.array_equal(inference.slices, SLICES)
    assert inference.shape == (2, 1, 3, 4)


def test_an_answer_has_the_shape_of_the_request_and_the_outputs_that_it_names():
    outputs = [{"name": "restored", "parameters": {"binary_data": True}}, {"name": "outlier_score"}]
    inference = parse(asked(outputs=outputs, id="a"))
    tensors = {"restored": SLICES, "outlier_score": np.array([1.5, np.nan])}
    body, json_length = encoded({"model_name": "champion"}, tensors, inference)
    answer = json.loads(body[:json_length])
    assert answer["id"] == "a"
    assert answer["outputs"] == [
        {
            "name": "restored",
            "shape": [2, 3, 4],
            "datatype": "FP32",
            "parameters": {"binary_data_size": 96},
        },
        {"name": "outlier_score", "shape": [2], "datatype": "FP64", "data": [1.5, None]},
    ]
    assert body[json_length:] == SLICES.tobytes()


def test_all_outputs_are_raw_where_the_request_says_so():
    parameters = {"modality": "PET", "binary_data_output": True, "uncertainty": 2}
    inference = parse(asked(parameters=parameters))
    assert inference.uncertainty == 2
    assert inference.outputs == dict.fromkeys(["restored", "deviation", "outlier_score"], True)


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"inputs": []}, "unsupported"),
        ({"tensor": {"name": "target"}}, "unsupported"),
        ({"tensor": {"shape": [6, 4]}}, "unsupported"),
        ({"tensor": {"shape": [2, 3, 3, 4]}}, "unsupported"),
        ({"tensor": {"shape": [0, 3, 4]}}, "unsupported"),
        ({"tensor": {"shape": [-2, 3, 4]}}, "unreadable"),
        ({"tensor": {"shape": [2, 3, 2**40]}}, "unreadable"),
        ({"tensor": {"shape": [2, 30, 40]}}, "too_large"),
        ({"tensor": {"shape": [2, 4, 4]}}, "unreadable"),
        ({"tensor": {"shape": [2, 4, 3]}}, "unreadable"),
        ({"tensor": {"datatype": "BYTES"}}, "unsupported"),
        ({"tensor": {"datatype": "UINT16", "data": [-1] * 24}}, "unreadable"),
        ({"tensor": {"datatype": "INT16", "data": [0.5] * 24}}, "unreadable"),
        ({"tensor": {"data": None}}, "unreadable"),
        ({"tensor": {"data": ["1"] * 24}}, "unreadable"),
        ({"tensor": {"data": [None] * 24}}, "unreadable"),
        ({"tensor": {"data": [[1, 2], [3]]}}, "unreadable"),
        ({"tensor": {"data": [10**400] * 24}}, "unreadable"),
        ({"tensor": {"data": [1e300] * 24}}, "not_finite"),
        ({"tensor": {"data": [float("nan")] * 24}}, "not_finite"),
        ({"parameters": {}}, "wrong_modality"),
        ({"parameters": {"modality": "US"}}, "wrong_modality"),
        ({"parameters": {"modality": 1}}, "wrong_modality"),
        ({"parameters": {"modality": "CT", "intensity_scale": 0}}, "invalid_setting"),
        ({"parameters": {"modality": "CT", "intensity_scale": 1e300}}, "invalid_setting"),
        ({"parameters": {"modality": "CT", "intensity_scale": True}}, "invalid_setting"),
        ({"parameters": {"modality": "CT", "uncertainty": 9}}, "invalid_setting"),
        ({"parameters": {"modality": "CT", "uncertainty": "2"}}, "invalid_setting"),
        ({"outputs": [{"name": "deviation"}]}, "unsupported"),
        ({"outputs": [{"name": "restored"}, {"name": "restored"}]}, "unsupported"),
        ({"id": "a" * 1000}, "unreadable"),
        ({"id": 5}, "unreadable"),
    ],
)
def test_what_makes_no_sense_is_refused_by_what_is_wrong(changed, code):
    assert code_of(asked(**changed)) == code


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b"[" * 100_000, b'{"inputs": null}', b"\xff\xfe", b"null"]
)
def test_what_is_no_request_is_unreadable(body):
    assert code_of(body) == "unreadable"


@pytest.mark.parametrize(
    ("tensor", "raw", "off"),
    [
        ({"data": None, "parameters": {"binary_data_size": 95}}, bytes(95), 0),
        ({"data": None, "parameters": {"binary_data_size": 96}}, bytes(95), 0),
        ({"data": None, "parameters": {"binary_data_size": "96"}}, bytes(96), 0),
        ({"data": None, "parameters": {"binary_data_size": -1}}, bytes(96), 0),
        ({"data": None, "parameters": {"binary_data_size": 48}}, bytes(48), 0),
        ({"parameters": {"binary_data_size": 96}}, bytes(96), 0),
        ({}, bytes(96), 0),
        ({"data": None, "parameters": {"binary_data_size": 96}}, bytes(96), -1),
        ({"data": None, "parameters": {"binary_data_size": 96}}, bytes(96), 10**6),
    ],
)
def test_lengths_that_do_not_agree_are_unreadable(tensor, raw, off):
    head = asked(tensor=tensor)
    assert code_of(head + raw, len(head) + off) == "unreadable"


def test_raw_numbers_that_are_not_finite_are_refused():
    raw = np.full(24, np.inf, np.float32).tobytes()
    head = asked(tensor={"data": None, "parameters": {"binary_data_size": len(raw)}})
    assert code_of(head + raw, len(head)) == "not_finite"
