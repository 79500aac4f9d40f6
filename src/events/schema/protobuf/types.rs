//! Which types of fields read each other's bytes. In: two types. Out: what becomes of values.

use prost_reflect::Kind;

use crate::events::schema::finding::{BACKWARD, BOTH, Breaks, FORWARD, NOTHING};

/// How the values of one type are written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wire {
    Varint,
    ZigZag,
    Fixed32,
    Fixed64,
    Bytes,
    Message,
}

/// What a change of type comes to: its rule, whom it breaks, and why.
pub(super) fn change(old: &Kind, new: &Kind) -> Option<(&'static str, Breaks, &'static str)> {
    let same = match (old, new) {
        (Kind::Message(old), Kind::Message(new)) => old.full_name() == new.full_name(),
        (Kind::Enum(old), Kind::Enum(new)) => old.full_name() == new.full_name(),
        _ => old == new,
    };
    if same {
        return None;
    }
    let float = |kind: &Kind| matches!(kind, Kind::Float | Kind::Double);
    if wire(old) != wire(new) || float(old) != float(new) {
        return Some((
            "FIELD_RETYPED",
            BOTH,
            "the bytes of one type are not those of the other",
        ));
    }
    Some(match (old, new) {
        (Kind::Message(_), Kind::Message(_)) => (
            "FIELD_MESSAGE_CHANGED",
            BOTH,
            "one message is read as another",
        ),
        (Kind::Enum(_), Kind::Enum(_)) => (
            "FIELD_ENUM_CHANGED",
            BOTH,
            "numbers of one enum are read as another's values",
        ),
        (Kind::String, _) => (
            "FIELD_WIDENED",
            FORWARD,
            "the same on the wire; old readers refuse bytes that are no UTF-8",
        ),
        (_, Kind::String) => (
            "FIELD_NARROWED",
            BACKWARD,
            "the same on the wire; new readers refuse bytes that are no UTF-8",
        ),
        _ => match (holds(new, old), holds(old, new)) {
            (true, true) => (
                "FIELD_RETYPED_COMPATIBLY",
                NOTHING,
                "the same on the wire, and each holds the other's values",
            ),
            (true, false) => (
                "FIELD_WIDENED",
                FORWARD,
                "the same on the wire; old readers cut off values that do not fit",
            ),
            (false, true) => (
                "FIELD_NARROWED",
                BACKWARD,
                "the same on the wire; new readers cut off old values that do not fit",
            ),
            (false, false) => (
                "FIELD_SIGN_CHANGED",
                BOTH,
                "the same on the wire; negative and large values are read as others",
            ),
        },
    })
}

fn wire(kind: &Kind) -> Wire {
    match kind {
        Kind::Int32 | Kind::Int64 | Kind::Uint32 | Kind::Uint64 | Kind::Bool | Kind::Enum(_) => {
            Wire::Varint
        }
        Kind::Sint32 | Kind::Sint64 => Wire::ZigZag,
        Kind::Fixed32 | Kind::Sfixed32 | Kind::Float => Wire::Fixed32,
        Kind::Fixed64 | Kind::Sfixed64 | Kind::Double => Wire::Fixed64,
        Kind::String | Kind::Bytes => Wire::Bytes,
        Kind::Message(_) => Wire::Message,
    }
}

/// Whether `wide` has every value that `narrow` has. An unknown number of an enum is kept as the number that it is.
fn holds(wide: &Kind, narrow: &Kind) -> bool {
    let range = |kind: &Kind| -> (i128, i128) {
        match kind {
            Kind::Bool => (0, 1),
            Kind::Uint32 | Kind::Fixed32 => (0, u32::MAX.into()),
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => (i64::MIN.into(), i64::MAX.into()),
            Kind::Uint64 | Kind::Fixed64 => (0, u64::MAX.into()),
            _ => (i32::MIN.into(), i32::MAX.into()),
        }
    };
    let ((low, high), (least, most)) = (range(wide), range(narrow));
    low <= least && most <= high
}
