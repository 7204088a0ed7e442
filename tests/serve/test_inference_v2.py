"""/v2 over a real socket, with Triton's own client and without."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from tests.serve.conftest import TOKEN

DIGEST = "a" * 64


def token() -> dict[str, str]:
    """A new dictionary each time: the client writes into it."""
    return {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def client(http_service):
    with triton.InferenceServerClient(http_service.url.removeprefix("http://")) as client:
        yield client


@pytest.fixture(scope="module")
def slices() -> np.ndarray:
    return np.random.default_rng(1).uniform(-900, 2000, (3, 17, 23)).astype(np.float32)


def tensor(numbers, *, binary=True, datatype="FP32"):
    given = triton.InferInput("degraded", numbers.shape, datatype)
    return given.set_data_from_numpy(numbers, binary_data=binary)


def inferred(client, numbers, *, binary=True, datatype="FP32", answered_raw=True, **options):
    return client.infer(
        "champion",
        [tensor(numbers, binary=binary, datatype=datatype)],
        outputs=[triton.InferRequestedOutput("restored", binary_data=answered_raw)],
        parameters=options.pop("parameters", {"modality": "CT"}),
        headers=token(),
        **options,
    )


def refusal(client, numbers, **options) -> InferenceServerException:
    with pytest.raises(InferenceServerException) as caught:
        inferred(client, numbers, **options)
    return caught.value


def test_health_is_open_and_metadata_needs_the_token(client):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.get_server_metadata(headers=token())["extensions"] == ["binary_tensor_data"]
    with pytest.raises(InferenceServerException, match="no valid token") as caught:
        client.get_server_metadata()
    assert caught.value.status() == "401"


def test_a_model_says_what_it_takes_and_gives(client):
    told = client.get_model_metadata("champion", headers=token())
    assert told["versions"] == [DIGEST[:12]]
    assert told["inputs"] == [{"name": "degraded", "datatype": "FP32", "shape": [-1, -1, -1]}]
    assert [output["name"] for output in told["outputs"]] == [
        "restored",
        "deviation",
        "outlier_score",
    ]
    assert client.get_model_metadata("champion", DIGEST[:12], headers=token()) == told
    assert client.is_model_ready("champion", headers=token())
    assert client.is_model_ready("champion", DIGEST[:12], headers=token())
    assert not client.is_model_ready("nobody", headers=token())
    assert not client.is_model_ready("champion", "7", headers=token())


@pytest.mark.parametrize("binary", [True, False], ids=["raw", "JSON"])
@pytest.mark.parametrize("answered_raw", [True, False], ids=["answered raw", "answered as JSON"])
@pytest.mark.parametrize("packing", [None, "gzip", "deflate"])
def test_slices_come_back_restored(client, slices, binary, answered_raw, packing):
    answer = inferred(
        client,
        slices,
        binary=binary,
        answered_raw=answered_raw,
        request_compression_algorithm=packing,
        request_id="7",
    )
    # An identity network, whose normalisation rounds.
    np.testing.assert_allclose(answer.as_numpy("restored"), slices, atol=1e-3)
    told = answer.get_response()
    assert (told["id"], told["model_name"], told["model_version"]) == ("7", "champion", "a" * 12)
    assert told["parameters"] == {"model_digest": DIGEST, "intensity_scale": 1.0, "clipped": 0}


@pytest.mark.parametrize(("datatype", "dtype"), [("INT16", "i2"), ("UINT16", "u2"), ("FP16", "f2")])
def test_other_numbers_of_two_bytes_are_taken(client, slices, datatype, dtype):
    numbers = np.abs(slices).astype(dtype)
    answer = inferred(client, numbers, datatype=datatype)
    np.testing.assert_allclose(answer.as_numpy("restored"), numbers, atol=1e-3)


def test_slices_with_a_channel_keep_it(client, slices):
    assert inferred(client, slices[:, None]).as_numpy("restored").shape == (3, 1, 17, 23)


def test_an_mr_scan_gets_the_scale_of_its_own_slices_or_the_one_stated(client, slices):
    scan = np.abs(slices)
    own = inferred(client, scan, parameters={"modality": "MRI"}).get_response()["parameters"]
    assert own["intensity_scale"] == pytest.approx(1500 / np.percentile(scan, 99.9), rel=0.2)
    stated = {"modality": "MRI", "intensity_scale": 0.5}
    told = inferred(client, scan, parameters=stated).get_response()["parameters"]
    assert told["intensity_scale"] == 0.5


def test_all_outputs_come_where_none_is_named(client, slices):
    answer = client.infer(
        "champion", [tensor(slices)], parameters={"modality": "CT"}, headers=token()
    )
    assert answer.as_numpy("outlier_score").shape == (3,)
    assert answer.as_numpy("restored").shape == slices.shape


def test_a_series_can_be_pinned_to_a_version(client, slices):
    pinned = inferred(client, slices, model_version=DIGEST[:12])
    assert pinned.get_response()["model_version"] == DIGEST[:12]
    assert refusal(client, slices, model_version="7").status() == "404"


def test_refusals_are_what_the_clients_of_the_protocol_understand(client, slices):
    error = refusal(client, slices, parameters={})
    assert error.status() == "422"
    assert error.message() == "the parameter modality must say MRI, CT, PET"
    assert "NaN" in refusal(client, slices * np.float32(np.nan)).message()


def body(slices, **parameters):
    request = {
        "parameters": {"modality": "CT"} | parameters,
        "inputs": [
            {
                "name": "degraded",
                "shape": slices.shape,
                "datatype": "FP32",
                "data": slices.ravel().tolist(),
            }
        ],
    }
    return json.dumps(request).encode()


def code(http_service, content, **headers) -> str:
    answer = http_service.client.post("/v2/models/champion/infer", content=content, headers=headers)
    assert answer.json()["error"] == answer.json()["detail"]
    return answer.json()["code"]


def test_bodies_that_pretend_are_refused(http_service, slices):
    sound = body(slices)
    packed = gzip.compress(sound)
    assert code(http_service, packed[:-20], **{"Content-Encoding": "gzip"}) == "unreadable"
    assert code(http_service, sound, **{"Content-Encoding": "gzip"}) == "unreadable"
    assert code(http_service, sound, **{"Content-Encoding": "br"}) == "unsupported_media_type"
    length = "Inference-Header-Content-Length"
    assert code(http_service, sound, **{length: str(len(sound) + 1)}) == "unreadable"
    assert code(http_service, sound, **{length: "-1"}) == "invalid_setting"
    assert code(http_service, sound, **{length: "9" * 400}) == "too_large"


def test_a_packed_body_is_no_way_around_the_limit(http_service):
    bomb = gzip.compress(b" " * 2**27)
    assert code(http_service, bomb, **{"Content-Encoding": "gzip"}) == "too_large"


def test_much_json_is_refused_in_favour_of_raw_numbers(http_service):
    content = b'{"id": "' + b" " * 2**22 + b'"}'
    assert code(http_service, content) == "too_large"
