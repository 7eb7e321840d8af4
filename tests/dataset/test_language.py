"""What users write, as MongoDB filters."""

import pytest
from bson import ObjectId

from alpw.dataset.language import parse, unknown_fields
from alpw.errors import InputError


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("", {}),
        ("chemsys=Si-C", {"chemical_system": "C-Si"}),
        ("chemsys!=Si-C", {"chemical_system": {"$ne": "C-Si"}}),
        ("chemsys=Si,Si-C", {"chemical_system": {"$in": ["Si", "C-Si"]}}),
        ("max_force>5 fmax<=7.5", {"max_force": {"$gt": 5.0, "$lte": 7.5}}),
        ("max_force>5 max_force>6", {"$and": [{"max_force": {"$gt": 5.0}}, {"max_force": {"$gt": 6.0}}]}),
        ("iteration=-1", {"iteration": -1}),
        ("id=0123456789abcdef01234567", {"_id": ObjectId("0123456789abcdef01234567")}),
        ('file="/a b/OUTCAR"', {"source.file": "/a b/OUTCAR"}),
        ('{"max_force": {"$gt": 5}}', {"max_force": {"$gt": 5}}),
        ('{"_id": {"$oid": "0123456789abcdef01234567"}}', {"_id": ObjectId("0123456789abcdef01234567")}),
        ("formula=Cu24Au8", {"formula": "Au8Cu24"}),
        ("element=C,O", {"chemical_system": {"$regex": r"\b(C|O)\b"}}),
        ("settings.encut>=400", {"settings.encut": {"$gte": 400}}),
    ],
)
def test_queries(text, query):
    assert parse(text) == query


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{'a': 1}", "is no JSON: .* at line 1, column 2"),
        ("[1]", "a query is an object"),
        ('{"_id": {"$oid": "short"}}', "does not know"),
        ("max_forec>5", "did you mean 'max_force'"),
        ("max_force>large", "max_force is a number"),
        ("max_force>nan", "max_force is a number"),
        ("id=abc", "id of 24 hexadecimal digits"),
        ("labelled>yesterday", "a date such as"),
        ("formula~(", "no regular expression"),
        ("silicon", "is no term"),
        ("snapshot>paper", "'=' only"),
        ("formula='Si", "quotation"),
        ("element=Xx", "no element"),
        ("state=bogus", "state is one of candidate"),
    ],
)
def test_what_is_no_query_says_why(text, complaint):
    with pytest.raises(InputError, match=complaint):
        parse(text)


def test_fields_that_no_document_has_are_told():
    assert unknown_fields({"$or": [{"max_forces": 1}, {"max_force": 1}]}) == {
        "max_forces": "did you mean 'max_force'?"
    }
