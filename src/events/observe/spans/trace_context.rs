//! W3C Trace Context: `traceparent` and `tracestate`, written and read. What cannot be read is no trace.

use std::str::FromStr;

use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

/// `00-`, the trace's id, `-`, the span's, `-`, flags.
const LEN: usize = 55;
const HEX: &[u8; 16] = b"0123456789abcdef";

/// The `traceparent` of a span.
pub(super) fn traceparent(span: &SpanContext) -> [u8; LEN] {
    let mut text = [b'-'; LEN];
    let mut at = 0;
    let flags = [(span.trace_flags() & TraceFlags::SAMPLED).to_u8()];
    let (trace, id) = (span.trace_id().to_bytes(), span.span_id().to_bytes());
    for part in [&[0][..], &trace, &id, &flags] {
        for byte in part {
            text[at] = HEX[usize::from(byte >> 4)];
            text[at + 1] = HEX[usize::from(byte & 0xF)];
            at += 2;
        }
        at += 1;
    }
    text
}

/// The span that a `traceparent` and a `tracestate` name, if they do.
pub(super) fn read(traceparent: &[u8], tracestate: Option<&[u8]>) -> Option<SpanContext> {
    let text = traceparent.trim_ascii();
    let [version] = bytes(text.get(..2)?)?;
    // A later version may have more to say behind, after a hyphen; there is no version 255.
    let is_known = match version {
        0 => text.len() == LEN,
        255 => false,
        _ => text.len() == LEN || text.get(LEN) == Some(&b'-'),
    };
    let hyphens = [2, 35, 52].iter().all(|at| text.get(*at) == Some(&b'-'));
    if !is_known || !hyphens {
        return None;
    }
    let (trace, span) = (bytes(&text[3..35])?, bytes(&text[36..52])?);
    let [flags] = bytes(&text[53..55])?;
    let flags = TraceFlags::new(flags) & TraceFlags::SAMPLED;
    let state = tracestate.and_then(|state| std::str::from_utf8(state).ok());
    let state = state.and_then(|state| TraceState::from_str(state).ok());
    let (trace, span) = (TraceId::from_bytes(trace), SpanId::from_bytes(span));
    let context = SpanContext::new(trace, span, flags, true, state.unwrap_or_default());
    context.is_valid().then_some(context)
}

/// Bytes by their hexadecimal digits, in lower case.
fn bytes<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let (pairs, []) = digits.as_chunks::<2>() else {
        return None;
    };
    let pairs: &[[u8; 2]; N] = pairs.try_into().ok()?;
    // Looked at as a whole in the end: no branch for each digit.
    let mut wrong = 0;
    let bytes = pairs.map(|[high, low]| {
        let (high, low) = (VALUES[usize::from(high)], VALUES[usize::from(low)]);
        wrong |= high | low;
        high << 4 | (low & 0xF)
    });
    (wrong <= 0xF).then_some(bytes)
}

/// The value of each digit; 255 for what is none.
const VALUES: [u8; 256] = {
    let mut values = [255; 256];
    let mut value = 0;
    while value < HEX.len() {
        values[HEX[value] as usize] = value as u8;
        value += 1;
    }
    values
};

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GOOD: &[u8] = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn what_is_written_is_read() {
        let span = read(GOOD, Some(b"a=1,b=2")).expect("a span");
        assert!(span.is_remote() && span.is_sampled());
        assert_eq!(span.trace_state().header(), "a=1,b=2");
        assert_eq!(&traceparent(&span), GOOD);
        let unsampled = read(&[&GOOD[..54], b"4"].concat(), None).expect("a span");
        assert!(!unsampled.is_sampled(), "only the first flag says so");
        assert_eq!(traceparent(&unsampled)[53..], *b"00");
    }

    #[test]
    fn what_is_no_trace_is_none_and_what_a_later_version_adds_is_passed_over() {
        for bad in [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00_0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            assert_eq!(read(bad.as_bytes(), None), None, "{bad}");
        }
        let later = [&b"01"[..], &GOOD[2..], b"-more"].concat();
        assert!(read(&later, Some(b"\xff")).is_some());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_not(bytes in prop::collection::vec(any::<u8>(), 0..60), state in any::<[u8; 4]>()) {
            let _ = read(&bytes, Some(&state));
        }
    }
}
