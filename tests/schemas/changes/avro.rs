//! Changes of Avro schemas. A text that begins with a field is a record `R` of such fields; any other is a schema of its own.

use super::Change;
use super::Verdict::{Backward, Forward, Full, None};

pub const CHANGES: &[Change] = &[
    // Fields.
    Change::new("nothing changes", r#"{"name":"a","type":"int"}"#, r#"{"name":"a","type":"int"}"#, Full, ""),
    Change::new("field with a default added", r#"{"name":"a","type":"int"}"#, r#"{"name":"a","type":"int"},{"name":"b","type":"int","default":0}"#, Full, ""),
    Change::new("field without a default added", r#"{"name":"a","type":"int"}"#, r#"{"name":"a","type":"int"},{"name":"b","type":"int"}"#, Forward, "FIELD_WITHOUT_DEFAULT"),
    Change::new("optional field with the default null added", r#"{"name":"a","type":"int"}"#, r#"{"name":"a","type":"int"},{"name":"b","type":["null","string"],"default":null}"#, Full, ""),
    Change::new("optional field without a default added", r#"{"name":"a","type":"int"}"#, r#"{"name":"a","type":"int"},{"name":"b","type":["null","string"]}"#, Forward, "FIELD_WITHOUT_DEFAULT"),
    Change::new("field with a default removed", r#"{"name":"a","type":"int"},{"name":"b","type":"int","default":0}"#, r#"{"name":"a","type":"int"}"#, Full, ""),
    Change::new("field without a default removed", r#"{"name":"a","type":"int"},{"name":"b","type":"int"}"#, r#"{"name":"a","type":"int"}"#, Backward, "FIELD_WITHOUT_DEFAULT"),
    Change::new("field renamed", r#"{"name":"a","type":"int"}"#, r#"{"name":"b","type":"int"}"#, None, "FIELD_WITHOUT_DEFAULT"),
    Change::new("field renamed with an alias", r#"{"name":"a","type":"int"}"#, r#"{"name":"b","type":"int","aliases":["a"]}"#, Backward, "FIELD_WITHOUT_DEFAULT"),
    Change::new("fields reordered", r#"{"name":"a","type":"int"},{"name":"b","type":"int"}"#, r#"{"name":"b","type":"int"},{"name":"a","type":"int"}"#, Full, ""),
    Change::new("default given", r#"{"name":"a","type":"int"}"#, r#"{"name":"a","type":"int","default":7}"#, Full, ""),
    Change::new("default changed", r#"{"name":"a","type":"int","default":1}"#, r#"{"name":"a","type":"int","default":2}"#, Full, ""),
    Change::new("documentation changed", r#"{"name":"a","type":"int"}"#, r#"{"name":"a","type":"int","doc":"more"}"#, Full, ""),
    // Promotions.
    Change::new("int to long", r#"{"name":"a","type":"int"}"#, r#"{"name":"a","type":"long"}"#, Backward, "TYPE_CHANGED"),
    Change::new("long to int", r#"{"name":"a","type":"long"}"#, r#"{"name":"a","type":"int"}"#, Forward, "TYPE_CHANGED"),
    Change::new("int to float", r#"{"name":"a","type":"int"}"#, r#"{"name":"a","type":"float"}"#, Backward, "TYPE_CHANGED"),
    Change::new("int to double", r#"{"name":"a","type":"int"}"#, r#"{"name":"a","type":"double"}"#, Backward, "TYPE_CHANGED"),
    Change::new("long to float", r#"{"name":"a","type":"long"}"#, r#"{"name":"a","type":"float"}"#, Backward, "TYPE_CHANGED"),
    Change::new("float to double", r#"{"name":"a","type":"float"}"#, r#"{"name":"a","type":"double"}"#, Backward, "TYPE_CHANGED"),
    Change::new("double to float", r#"{"name":"a","type":"double"}"#, r#"{"name":"a","type":"float"}"#, Forward, "TYPE_CHANGED"),
    Change::new("string to bytes", r#"{"name":"a","type":"string"}"#, r#"{"name":"a","type":"bytes"}"#, Full, ""),
    Change::new("int to string", r#"{"name":"a","type":"int"}"#, r#"{"name":"a","type":"string"}"#, None, "TYPE_CHANGED"),
    Change::new("boolean to int", r#"{"name":"a","type":"boolean"}"#, r#"{"name":"a","type":"int"}"#, None, "TYPE_CHANGED"),
    // Unions.
    Change::new("type becomes a union with it", r#"{"name":"a","type":"int"}"#, r#"{"name":"a","type":["null","int"]}"#, Backward, "UNION_BRANCH_REMOVED"),
    Change::new("union becomes one of its types", r#"{"name":"a","type":["null","int"]}"#, r#"{"name":"a","type":"int"}"#, Forward, "UNION_BRANCH_REMOVED"),
    Change::new("branch added", r#"{"name":"a","type":["null","int"]}"#, r#"{"name":"a","type":["null","int","string"]}"#, Backward, "UNION_BRANCH_REMOVED"),
    Change::new("branch removed", r#"{"name":"a","type":["null","int","string"]}"#, r#"{"name":"a","type":["null","int"]}"#, Forward, "UNION_BRANCH_REMOVED"),
    Change::new("branches reordered", r#"{"name":"a","type":["null","int"]}"#, r#"{"name":"a","type":["int","null"]}"#, Full, ""),
    Change::new("branch promoted", r#"{"name":"a","type":["null","int"]}"#, r#"{"name":"a","type":["null","long"]}"#, Backward, "UNION_BRANCH_REMOVED"),
    Change::new("type becomes a union without it", r#"{"name":"a","type":"int"}"#, r#"{"name":"a","type":["null","string"]}"#, None, "UNION_WITHOUT_BRANCH"),
    // Enums.
    Change::new("symbol added", r#"{"name":"a","type":{"type":"enum","name":"E","symbols":["X"]}}"#, r#"{"name":"a","type":{"type":"enum","name":"E","symbols":["X","Y"]}}"#, Backward, "ENUM_SYMBOL_UNKNOWN"),
    Change::new("symbol added to an enum with a default", r#"{"name":"a","type":{"type":"enum","name":"E","symbols":["X"],"default":"X"}}"#, r#"{"name":"a","type":{"type":"enum","name":"E","symbols":["X","Y"],"default":"X"}}"#, Full, ""),
    Change::new("symbol removed", r#"{"name":"a","type":{"type":"enum","name":"E","symbols":["X","Y"]}}"#, r#"{"name":"a","type":{"type":"enum","name":"E","symbols":["X"]}}"#, Forward, "ENUM_SYMBOL_UNKNOWN"),
    Change::new("symbols reordered", r#"{"name":"a","type":{"type":"enum","name":"E","symbols":["X","Y"]}}"#, r#"{"name":"a","type":{"type":"enum","name":"E","symbols":["Y","X"]}}"#, Full, ""),
    Change::new("enum renamed", r#"{"name":"a","type":{"type":"enum","name":"E","symbols":["X"]}}"#, r#"{"name":"a","type":{"type":"enum","name":"F","symbols":["X"]}}"#, None, "NAME_CHANGED"),
    Change::new("enum renamed with an alias", r#"{"name":"a","type":{"type":"enum","name":"E","symbols":["X"]}}"#, r#"{"name":"a","type":{"type":"enum","name":"F","aliases":["E"],"symbols":["X"]}}"#, Backward, "NAME_CHANGED"),
    // Fixed.
    Change::new("size of a fixed changed", r#"{"name":"a","type":{"type":"fixed","name":"F","size":4}}"#, r#"{"name":"a","type":{"type":"fixed","name":"F","size":8}}"#, None, "FIXED_SIZE_CHANGED"),
    Change::new("fixed renamed", r#"{"name":"a","type":{"type":"fixed","name":"F","size":4}}"#, r#"{"name":"a","type":{"type":"fixed","name":"G","size":4}}"#, None, "NAME_CHANGED"),
    Change::new("fixed to bytes", r#"{"name":"a","type":{"type":"fixed","name":"F","size":4}}"#, r#"{"name":"a","type":"bytes"}"#, None, "TYPE_CHANGED"),
    // Arrays and maps.
    Change::new("items promoted", r#"{"name":"a","type":{"type":"array","items":"int"}}"#, r#"{"name":"a","type":{"type":"array","items":"long"}}"#, Backward, "TYPE_CHANGED"),
    Change::new("items changed", r#"{"name":"a","type":{"type":"array","items":"int"}}"#, r#"{"name":"a","type":{"type":"array","items":"string"}}"#, None, "TYPE_CHANGED"),
    Change::new("values promoted", r#"{"name":"a","type":{"type":"map","values":"int"}}"#, r#"{"name":"a","type":{"type":"map","values":"double"}}"#, Backward, "TYPE_CHANGED"),
    Change::new("type becomes an array of it", r#"{"name":"a","type":"int"}"#, r#"{"name":"a","type":{"type":"array","items":"int"}}"#, None, "TYPE_CHANGED"),
    // Records.
    Change::new("record renamed", r#"{"type":"record","name":"R","fields":[]}"#, r#"{"type":"record","name":"S","fields":[]}"#, None, "NAME_CHANGED"),
    Change::new("record renamed with an alias", r#"{"type":"record","name":"R","fields":[]}"#, r#"{"type":"record","name":"S","aliases":["R"],"fields":[]}"#, Backward, "NAME_CHANGED"),
    Change::new("namespace changed", r#"{"type":"record","name":"R","namespace":"a","fields":[]}"#, r#"{"type":"record","name":"R","namespace":"b","fields":[]}"#, Full, "NAMESPACE_CHANGED"),
    Change::new("field without a default added to a record within", r#"{"name":"a","type":{"type":"record","name":"N","fields":[]}}"#, r#"{"name":"a","type":{"type":"record","name":"N","fields":[{"name":"b","type":"int"}]}}"#, Forward, "FIELD_WITHOUT_DEFAULT"),
    Change::new("record within itself, field with a default added", r#"{"name":"next","type":["null","R"],"default":null}"#, r#"{"name":"next","type":["null","R"],"default":null},{"name":"b","type":"int","default":0}"#, Full, ""),
    Change::new("record within itself, field without a default added", r#"{"name":"next","type":["null","R"],"default":null}"#, r#"{"name":"next","type":["null","R"],"default":null},{"name":"b","type":"int"}"#, Forward, "FIELD_WITHOUT_DEFAULT"),
    Change::new("record to map", r#"{"name":"a","type":{"type":"record","name":"N","fields":[]}}"#, r#"{"name":"a","type":{"type":"map","values":"int"}}"#, None, "TYPE_CHANGED"),
    // Logical types.
    Change::new("timestamp in millis to micros", r#"{"name":"a","type":{"type":"long","logicalType":"timestamp-millis"}}"#, r#"{"name":"a","type":{"type":"long","logicalType":"timestamp-micros"}}"#, None, "LOGICAL_TYPE_CHANGED"),
    Change::new("scale of a decimal changed", r#"{"name":"a","type":{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}}"#, r#"{"name":"a","type":{"type":"bytes","logicalType":"decimal","precision":9,"scale":3}}"#, None, "LOGICAL_TYPE_CHANGED"),
];
