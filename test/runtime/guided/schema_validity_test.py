"""Guided JSON against a validator: random texts of each grammar are valid, and valid instances are accepted.

usage: schema_validity_test.py WALK       (WALK is the program schema_walk; needs the package jsonschema)
"""
import decimal
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..", ".deps", "python"))
try:
    import jsonschema
except ImportError:
    print("schema_validity_test: the Python package 'jsonschema' is missing; run scripts/setup")
    sys.exit(77)

# (schema, valid texts, invalid texts)
CASES = [
    # Keywords besides type.
    ({"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}, "additionalProperties": False,
      "anyOf": [{"required": ["a"]}, {"required": ["b"]}]}, ['{"a":1}', '{"b":2}', '{"a":1,"b":2}'], ["{}"]),
    ({"type": ["string", "null"], "anyOf": [{"minLength": 3}, {"type": "null"}]}, ['"abc"', "null"], ['"ab"', "1"]),
    ({"type": "object", "allOf": [{"properties": {"a": {"type": "string"}}, "required": ["a"]},
                                  {"properties": {"a": {"maxLength": 2}, "b": {"const": 1}}, "required": ["b"]}]},
     ['{"a":"xy","b":1}'], ['{"a":"xyz","b":1}', '{"b":1}', '{"a":"x"}']),
    ({"type": "string", "enum": ["a", 1, None, "bc"], "minLength": 2}, ['"bc"'], ['"a"', "1"]),
    ({"const": {"a": [1, {"b": 2}]}}, ['{"a":[1,{"b":2}]}'], ['{"a":[1]}']),
    ({"oneOf": [{"type": "number", "multipleOf": 3}, {"type": "number", "multipleOf": 5}]}, ["9", "10"], ["15", "0", "7"]),
    ({"oneOf": [{"required": ["a"]}, {"required": ["b"]}], "properties": {"a": {"const": 1}, "b": {"const": 2}},
      "additionalProperties": False}, ['{"a":1}', '{"b":2}'], ["{}", '{"a":1,"b":2}']),
    ({"not": {"enum": ["a", "b", 3]}, "type": ["string", "integer"]}, ['"c"', '"ab"', "4"], ['"a"', '"b"', "3"]),
    ({"type": "object", "not": {"required": ["a", "b"]}, "properties": {"a": {"const": 1}, "b": {"const": 2}},
      "additionalProperties": False}, ["{}", '{"a":1}', '{"b":2}'], ['{"a":1,"b":2}']),
    ({"type": "object", "properties": {"kind": {"enum": ["a", "b"]}, "x": {"type": "integer"}}, "required": ["kind"],
      "if": {"properties": {"kind": {"const": "a"}}}, "then": {"required": ["x"]}, "additionalProperties": False},
     ['{"kind":"b"}', '{"kind":"a","x":3}', '{"kind":"b","x":3}'], ['{"kind":"a"}']),
    ({"type": "object", "properties": {"a": {"const": 1}, "b": {"const": 2}}, "dependentRequired": {"a": ["b"]},
      "additionalProperties": False}, ["{}", '{"b":2}', '{"a":1,"b":2}'], ['{"a":1}']),
    ({"$schema": "http://json-schema.org/draft-07/schema#", "type": "object", "properties": {"a": {"const": 1}, "b": {}},
      "dependencies": {"a": {"required": ["b"]}}, "additionalProperties": False}, ['{"a":1,"b":[]}'], ['{"a":1}']),
    # Numbers.
    ({"type": "number", "exclusiveMinimum": 0, "maximum": 10}, ["0.001", "10", "9.99", "3"], ["0", "10.1", "-1", "0.0"]),
    ({"type": "number", "minimum": -1.5, "exclusiveMaximum": 2.25}, ["-1.5", "2.24", "0", "-0.3"], ["-1.6", "2.25", "3"]),
    ({"type": "number", "minimum": 0.25, "maximum": 0.3}, ["0.25", "0.275", "0.3"], ["0.2", "0.31", "1", "0"]),
    ({"type": "integer", "minimum": 0.5, "maximum": 3.5}, ["1", "3"], ["0", "4", "1.0"]),
    ({"type": "integer", "multipleOf": 7}, ["0", "49", "-14"], ["1", "50"]),
    ({"type": "integer", "multipleOf": 25, "minimum": 10, "maximum": 100}, ["25", "100"], ["0", "10", "125"]),
    ({"type": "number", "multipleOf": 0.01}, ["1.25", "3", "0.07"], ["1.255"]),
    ({"type": "number", "multipleOf": 0.5, "minimum": 0}, ["0.5", "7", "2.50"], ["0.25", "-0.5"]),
    ({"$schema": "http://json-schema.org/draft-04/schema#", "type": "integer", "minimum": 3, "exclusiveMinimum": True,
      "maximum": 6}, ["4", "6"], ["3", "7"]),
    # Strings.
    ({"type": "string", "pattern": "^[a-z]+$", "minLength": 2, "maxLength": 4}, ['"ab"', '"abcd"'], ['"a"', '"abcde"', '"A1"']),
    ({"type": "string", "pattern": "^$|^[0-9]{3}$"}, ['""', '"123"'], ['"12"']),
    ({"type": "string", "pattern": "(^a|b$)"}, ['"ax"', '"xb"'], ['"xa"']),
    ({"type": "string", "pattern": "^(?!con$)[a-z]{2,5}$"}, ['"cons"', '"ab"'], ['"con"']),
    ({"type": "string", "pattern": "^[^\\s]+$"}, ['"a\u00e9"', '"-"'], ['""', '"a b"', '"\u00a0"']),
    ({"allOf": [{"type": "string", "pattern": "a"}, {"pattern": "b"}], "maxLength": 3}, ['"ab"', '"bxa"'], ['"aa"', '"axxb"']),
    ({"type": "string", "format": "date", "pattern": "^20"}, ['"2024-02-29"'], ['"1999-01-01"', '"2023-02-29"']),
    *[({"type": "string", "format": name}, [json.dumps(text) for text in good], [json.dumps(text) for text in bad])
      for name, good, bad in [
          ("ipv6", ["::1", "2001:db8::7", "1:2:3:4:5:6:7:8"], ["1:2", "::g", "1::2::3"]),
          ("uri", ["https://example.com/a?b=c#d", "urn:isbn:12"], ["example", "http://a b"]),
          ("uri-reference", ["/a/b", "a", "#x"], ["a b"]),
          ("hostname", ["example.com", "a-b.c"], ["-a.b", "a_b"]),
          ("duration", ["P3D", "PT1H30M", "P1Y2M"], ["P", "3D", "PT"]),
          ("json-pointer", ["", "/a/~0b"], ["a", "/~2"]),
          ("regex", ["^a+$", "x|y"], ["(", "*"]),
          ("date-time", ["2024-02-29T12:00:00Z", "2024-01-01T00:00:00.5+01:00"], ["2024-02-30T12:00:00Z"]),
          ("time", ["23:59:59Z"], ["24:00:00Z"]),
      ]],
    ({"type": "string", "format": "email", "maxLength": 255}, ['"a.b@example.com"'], ['"a"', '"a@b"']),
    ({"type": "string", "format": "uri", "maxLength": 300, "minLength": 3}, ['"https://example.com/a"'], ['"a b"']),
    ({"type": "integer", "format": "int32"}, ["5"], ["1.5"]),
    # Lists.
    ({"type": "array", "contains": {"const": 7}, "items": {"type": "integer"}}, ["[7]", "[1,7,2]"], ["[]", "[1,2]"]),
    ({"type": "array", "contains": {"type": "null"}, "minItems": 2, "maxItems": 3}, ["[1,null]", "[null,2,3]"],
     ["[null]", "[1,2,3]", "[null,1,2,3]"]),
    ({"$schema": "http://json-schema.org/draft-07/schema#", "type": "array", "items": [{"const": 1}, {"const": 2}],
      "additionalItems": {"const": 3}}, ["[]", "[1]", "[1,2,3,3]"], ["[2]", "[1,2,2]"]),
    # Objects.
    ({"type": "object", "patternProperties": {"^x-": {"type": "integer"}, "-s$": {"type": "string"}},
      "additionalProperties": False}, ['{"x-a":1}', '{"a-s":"t"}', "{}"], ['{"x-a":"t"}', '{"y":1}', '{"x-s":1}']),
    ({"type": "object", "properties": {"id": {"type": "integer"}}, "patternProperties": {"^a": {"type": "boolean"}},
      "additionalProperties": {"type": "null"}}, ['{"id":1,"ab":true,"c":null}'], ['{"ab":1}', '{"c":true}']),
    ({"type": "object", "propertyNames": {"pattern": "^[a-z]+$", "maxLength": 3}, "additionalProperties": {"type": "integer"}},
     ['{"abc":1}', "{}"], ['{"A":1}', '{"abcd":1}']),
    ({"type": "object", "properties": {"a": {"const": 1}, "b": {"const": 2}, "c": {"const": 3}}, "minProperties": 2,
      "additionalProperties": False}, ['{"a":1,"b":2}', '{"a":1,"c":3}'], ['{"a":1}', "{}"]),
    ({"type": "object", "properties": {"a": {"const": 1}, "b": {"const": 2}, "c": {"const": 3}}, "maxProperties": 1,
      "additionalProperties": False}, ["{}", '{"c":3}'], ['{"a":1,"b":2}']),
    ({"type": "object", "minProperties": 1, "maxProperties": 2, "additionalProperties": {"type": "integer"}},
     ['{"a":1}', '{"a":1,"b":2}'], ["{}", '{"a":1,"b":2,"c":3}']),
    # Annotations, unknown keywords, identifiers.
    ({"type": "string", "title": "t", "description": "d", "default": "x", "examples": ["y"], "$comment": "c",
      "deprecated": True, "readOnly": True, "contentMediaType": "text/plain", "x-order": 3, "markdownDescription": "m",
      "maxLength": 2}, ['"ab"'], ['"abc"']),
    ({"$id": "https://example.com/a.json", "$ref": "a.json#/$defs/n", "$defs": {"n": {"type": "null"}}}, ["null"], ["1"]),
    ({"$ref": "#node", "$defs": {"n": {"$anchor": "node", "type": "integer"}}}, ["1"], ["null"]),
    # From public reports.
    # guidance-ai/llguidance issue 265: a pattern that also matches a listed property caused endless output.
    ({"type": "object", "properties": {"score": {"type": "integer", "multipleOf": 5},
                                       "tags": {"type": "array", "items": {"type": "string", "minLength": 3, "maxLength": 5}}},
      "required": ["score", "tags"], "additionalProperties": False, "patternProperties": {"^score$": {"maximum": 10}}},
     ['{"score":5,"tags":["abc"]}'], ['{"score":6,"tags":[]}', '{"score":15,"tags":[]}', '{"score":5,"tags":["ab"]}']),
    # vllm-project/vllm issue 45592: a pattern of items disabled their maxLength.
    ({"type": "array", "items": {"type": "string", "pattern": "^[a-z ]+$", "maxLength": 6}, "maxItems": 2},
     ['["ab cd"]', "[]"], ['["abcdefg"]', '["A"]']),
    # ggml-org/llama.cpp issue 7789: additionalProperties together with properties.
    ({"type": "object", "properties": {"number": {"type": "number"}, "street_type": {"enum": ["Street", "Avenue"]}},
      "additionalProperties": True}, ['{"number":1600,"street_type":"Avenue","direction":"NW"}', "{}", '{"x":[]}'],
     ['{"number":"x"}', '{"street_type":"Road"}']),
    # kekzl/imp issue 1564: values that are not strings, and a schema as additionalProperties before properties.
    ({"enum": [1, True, None, 2.5]}, ["1", "true", "null", "2.5"], ["2", "false", '""']),
    ({"type": "object", "additionalProperties": {"type": "integer"}, "properties": {"a": {"type": "string"}}, "required": ["a"]},
     ['{"a":"x","b":3}'], ['{"a":1}', '{"b":3}', '{"a":"x","b":"y"}']),
    # dottxt-ai/outlines-core issue 156: oneOf over required properties.
    ({"type": "object", "properties": {name: {"type": "integer"} for name in ("base", "height", "length", "radius", "width")},
      "oneOf": [{"required": ["radius"]}, {"required": ["length", "width"]}, {"required": ["base", "height"]}],
      "additionalProperties": False}, ['{"radius":1}', '{"length":1,"width":2}', '{"base":1,"radius":2}'],
     ["{}", '{"length":1}', '{"base":1,"height":2,"radius":3}']),
    # dottxt-ai/outlines issue 310: a reference to a property instead of a definition.
    ({"$schema": "http://json-schema.org/draft-04/schema#", "type": "object", "additionalProperties": False,
      "properties": {"test": {"type": "integer"}, "test2": {"$ref": "#/properties/test"}}},
     ['{"test":1,"test2":2}'], ['{"test2":"x"}']),
    # dottxt-ai/outlines pull request 897: pydantic's union with a discriminator.
    ({"$defs": {"Cat": {"properties": {"pet_type": {"const": "cat"}, "meows": {"type": "integer"}}, "required": ["pet_type", "meows"],
                        "title": "Cat", "type": "object"},
                "Dog": {"properties": {"pet_type": {"const": "dog"}, "barks": {"type": "number"}}, "required": ["pet_type", "barks"],
                        "title": "Dog", "type": "object"}},
      "properties": {"pet": {"discriminator": {"mapping": {"cat": "#/$defs/Cat", "dog": "#/$defs/Dog"}, "propertyName": "pet_type"},
                             "oneOf": [{"$ref": "#/$defs/Cat"}, {"$ref": "#/$defs/Dog"}], "title": "Pet"}},
      "required": ["pet"], "type": "object"}, ['{"pet":{"pet_type":"cat","meows":3}}'], ['{"pet":{"pet_type":"dog","meows":3}}']),
    # tlivings/enjoi issue 68: anyOf of required together with additionalProperties: false.
    ({"type": "object", "properties": {"one": {"type": "number", "minimum": 0, "maximum": 10}, "two": {"type": "number", "maximum": 10}},
      "anyOf": [{"required": ["one"]}, {"required": ["two"]}], "additionalProperties": False},
     ['{"one":0.5}', '{"two":-3}'], ["{}", '{"one":11}']),
    # dottxt-ai/outlines issue 749: a property whose schema has no constraints.
    ({"type": "object", "properties": {"value": {}, "note": {"description": "anything"}}, "required": ["value"]},
     ['{"value":{"a":[1]}}', '{"value":null,"note":""}'], ['{"note":1}']),
]


def main():
    walk = subprocess.Popen([sys.argv[1]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    failures = 0
    for number, (schema, good, bad) in enumerate(CASES):
        request = {"schema": json.dumps(schema), "walks": 5, "seed": number, "instances": good + bad}
        walk.stdin.write(json.dumps(request) + "\n")
        walk.stdin.flush()
        answer = json.loads(walk.stdout.readline())
        problems = [f"refused: {answer['error']}"] if "error" in answer else [f"stuck: {why}" for why in answer["stuck"]]
        # Decimals, because 0.07 is a multiple of 0.01 as a decimal but not as a double.
        exact = json.loads(json.dumps(schema), parse_float=decimal.Decimal)
        kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
        kind.check_schema(schema)
        validator = kind(exact, format_checker=kind.FORMAT_CHECKER)
        for text in answer.get("texts", []):
            if not validator.is_valid(json.loads(text, parse_float=decimal.Decimal)):
                problems.append(f"invalid: {text}")
        for text, accepted in zip(good + bad, answer.get("accepts", [])):
            if accepted != (text in good):
                problems.append(f"{'accepted' if accepted else 'not accepted'}: {text}")
        for problem in problems:
            print(f"{json.dumps(schema)}: {problem}")
        failures += bool(problems)
    walk.stdin.close()
    print(f"{len(CASES) - failures} of {len(CASES)} schemas passed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
