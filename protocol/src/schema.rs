//! The tables as data: what fuzzers, tests, the CLI and the parity check read.

use std::fmt;

/// A range of versions, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct VersionRange {
    /// The lowest version.
    pub min: i16,
    /// The highest version; [`i16::MAX`] for a field that is still there.
    pub max: i16,
}

impl VersionRange {
    /// No version at all.
    pub const NONE: VersionRange = VersionRange::new(0, -1);

    /// From `min` to `max`, both included.
    pub const fn new(min: i16, max: i16) -> Self {
        Self { min, max }
    }

    /// Whether `version` is one of them.
    #[inline]
    pub const fn contains(self, version: i16) -> bool {
        self.min <= version && version <= self.max
    }

    /// The versions that are in both; `None` when there is none.
    pub fn intersection(self, other: VersionRange) -> Option<VersionRange> {
        let common = VersionRange::new(self.min.max(other.min), self.max.min(other.max));
        (common.min <= common.max).then_some(common)
    }

    /// Every version, ascending.
    pub fn iter(self) -> impl DoubleEndedIterator<Item = i16> + Clone {
        self.min..=self.max
    }
}

/// `3`, `3-13`, or `3+`.
impl fmt::Display for VersionRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.min, self.max) {
            (min, i16::MAX) => write!(f, "{min}+"),
            (min, max) if min == max => write!(f, "{min}"),
            (min, max) => write!(f, "{min}-{max}"),
        }
    }
}

/// A message.
#[derive(Clone, Copy, Debug)]
pub struct MessageSchema {
    /// Kafka's name of it.
    pub name: &'static str,
    /// The versions we speak.
    pub versions: VersionRange,
    /// The first version with compact lengths and tagged fields (KIP-482); [`i16::MAX`] when there is none.
    pub first_flexible: i16,
    /// Its fields.
    pub body: &'static StructSchema,
}

/// A message or a structure inside one.
#[derive(Debug)]
pub struct StructSchema {
    /// Kafka's name of it.
    pub name: &'static str,
    /// Its fields, in the order of the wire.
    pub fields: &'static [FieldSchema],
}

/// A row of the tables.
#[derive(Debug)]
pub struct FieldSchema {
    pub(crate) ident: &'static str,
    /// Its type.
    pub ty: FieldType,
    /// The versions that have it.
    pub versions: VersionRange,
    /// The versions in which it can be null.
    pub nullable: VersionRange,
    /// The default as the table writes it; `None` for zero, false, empty.
    pub default: Option<&'static str>,
    /// Its tag, when it is a tagged field (KIP-482).
    pub tag: Option<u32>,
    /// Whether it may be left out, with a value that is not the default, in a version that lacks it.
    pub ignorable: bool,
    /// Whether it has the compact form in flexible versions. Only the client id of request headers has not.
    pub compact: bool,
}

impl FieldSchema {
    /// Kafka's name in snake case.
    pub fn name(&self) -> &'static str {
        self.ident.trim_start_matches("r#")
    }
}

/// The type of a field.
#[derive(Clone, Copy, Debug)]
pub enum FieldType {
    /// One byte: zero is false.
    Bool,
    /// A signed byte.
    Int8,
    /// Two bytes, signed.
    Int16,
    /// Two bytes, unsigned.
    Uint16,
    /// Four bytes, signed.
    Int32,
    /// Four bytes, unsigned.
    Uint32,
    /// Eight bytes, signed.
    Int64,
    /// Eight bytes, IEEE 754.
    Float64,
    /// Two bytes: an [`ErrorCode`](crate::ErrorCode); int16 in Kafka's definitions.
    ErrorCode,
    /// Sixteen bytes.
    Uuid,
    /// UTF-8 of at most 32767 bytes.
    String,
    /// A byte string.
    Bytes,
    /// A byte string that holds record batches.
    Records,
    /// An array of this type.
    Array(&'static FieldType),
    /// A structure.
    Struct(&'static StructSchema),
}
