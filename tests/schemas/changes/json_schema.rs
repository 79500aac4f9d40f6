//! Changes of JSON schemas.

use super::Change;
use super::Verdict::{Backward, Forward, Full, None};

pub const CHANGES: &[Change] = &[
    Change::new("nothing changes", r#"{"type":"object"}"#, r#"{"type":"object"}"#, Full, ""),
    Change::new("property added", r#"{"type":"object","properties":{"a":{"type":"string"}}}"#, r#"{"type":"object","properties":{"a":{"type":"string"},"b":{}}}"#, Full, ""),
    Change::new("property added to a closed object", r#"{"properties":{"a":{}},"additionalProperties":false}"#, r#"{"properties":{"a":{},"b":{}},"additionalProperties":false}"#, Backward, "PROPERTY_REMOVED"),
    Change::new("property required", r#"{"properties":{"a":{}}}"#, r#"{"properties":{"a":{}},"required":["a"]}"#, Forward, "REQUIRED_ADDED"),
    Change::new("property not required any more", r#"{"properties":{"a":{}},"required":["a"]}"#, r#"{"properties":{"a":{}}}"#, Backward, "REQUIRED_ADDED"),
    Change::new("object closed", r#"{"properties":{"a":{}}}"#, r#"{"properties":{"a":{}},"additionalProperties":false}"#, Forward, "PROPERTIES_CLOSED"),
    Change::new("type narrowed", r#"{"properties":{"a":{"type":["string","null"]}}}"#, r#"{"properties":{"a":{"type":"string"}}}"#, Forward, "TYPE_NARROWED"),
    Change::new("type widened", r#"{"properties":{"a":{"type":"string"}}}"#, r#"{"properties":{"a":{"type":["string","null"]}}}"#, Backward, "TYPE_NARROWED"),
    Change::new("type changed", r#"{"properties":{"a":{"type":"string"}}}"#, r#"{"properties":{"a":{"type":"array"}}}"#, None, "TYPE_NARROWED"),
    Change::new("integer to number", r#"{"type":"integer"}"#, r#"{"type":"number"}"#, Backward, "TYPE_NARROWED"),
    Change::new("type given where any was taken", r#"{"properties":{"a":{}}}"#, r#"{"properties":{"a":{"type":"string"}}}"#, Forward, "TYPE_NARROWED"),
    Change::new("value of an enum added", r#"{"enum":["x"]}"#, r#"{"enum":["x","y"]}"#, Backward, "ENUM_NARROWED"),
    Change::new("value of an enum removed", r#"{"enum":["x","y"]}"#, r#"{"enum":["x"]}"#, Forward, "ENUM_NARROWED"),
    Change::new("text may be shorter", r#"{"type":"string","minLength":4}"#, r#"{"type":"string","minLength":2}"#, Backward, "LIMIT_TIGHTENED"),
    Change::new("number may be smaller only", r#"{"type":"number"}"#, r#"{"type":"number","maximum":10}"#, Forward, "LIMIT_TIGHTENED"),
    Change::new("pattern changed", r#"{"type":"string","pattern":"^a"}"#, r#"{"type":"string","pattern":"^b"}"#, None, "LIMIT_TIGHTENED"),
    Change::new("items narrowed", r#"{"items":{"type":["string","null"]}}"#, r#"{"items":{"type":"string"}}"#, Forward, "TYPE_NARROWED"),
    Change::new("alternative added", r#"{"oneOf":[{"type":"string"}]}"#, r#"{"oneOf":[{"type":"string"},{"type":"null"}]}"#, Backward, "COMBINATION_CHANGED"),
    Change::new("alternative removed", r#"{"oneOf":[{"type":"string"},{"type":"null"}]}"#, r#"{"oneOf":[{"type":"string"}]}"#, Forward, "COMBINATION_CHANGED"),
    Change::new("type behind a reference changed", r##"{"$ref":"#/$defs/d","$defs":{"d":{"type":"string"}}}"##, r##"{"$ref":"#/$defs/d","$defs":{"d":{"type":"null"}}}"##, None, "TYPE_NARROWED"),
    Change::new("description changed", r#"{"type":"string"}"#, r#"{"type":"string","description":"more"}"#, Full, ""),
];
