"""Arrays survive the database bit for bit."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from alpw.database.arrays import decode, encode
from alpw.errors import DatabaseError


@given(arrays(st.sampled_from([np.float64, np.float32, np.int32, np.int64]), array_shapes(max_dims=3)))
def test_round_trip_keeps_type_shape_and_bits(array):
    back = decode(encode(array))
    assert back.dtype == array.dtype and back.shape == array.shape
    assert back.tobytes() == array.tobytes()


def test_a_decoded_array_can_be_changed_without_touching_the_document():
    document = encode(np.zeros(3))
    decode(document)[0] = 1.0
    assert decode(document)[0] == 0.0


def test_non_contiguous_and_big_endian_arrays_keep_their_values(mongo):
    array = np.arange(12, dtype=">f8").reshape(3, 4)[:, ::2]
    mongo.c.insert_one({"_id": 1, "a": encode(array)})
    assert np.array_equal(decode(mongo.c.find_one()["a"]), array)


def test_a_damaged_document_is_an_error():
    document = encode(np.zeros((2, 3)))
    document["shape"] = [2, 4]
    with pytest.raises(DatabaseError, match="reshape"):
        decode(document)
