//! The text beside a committed offset that names its topic, and the finished records beyond it. Sans-IO.
//!
//! In: a topic id and ranges of offsets. Out: text, and from any text both again. The form: `pat2:`, then base64 (RFC 4648, URL alphabet, no
//! padding) of the 16 bytes of the id and of LEB128 numbers: how many offsets from the committed one on are unfinished, how many then are
//! finished, and so on in turns. Where brokers have no ids, `pat1:` and the numbers alone. Where those are too many, `pat3:`, the id (zeros where
//! there is none) and a bit for each offset from the committed one on, the lowest of a byte first: whatever is finished of [`ALWAYS_FIT`] offsets
//! fits. What does not fit is left out from the end, and is handled again after a restart.
//!
//! Behind a full stop may follow what else is to be known again after a restart: LEB128 numbers, in base64 as well. What they mean is the business
//! of whoever commits them; everyone else passes over them.

use std::ops::Range;

use crate::kafka::TopicId;

const MARK: &str = "pat1:";
const MARK_WITH_ID: &str = "pat2:";
const MARK_OF_BITS: &str = "pat3:";
const MORE: char = '.';
/// What brokers accept by default (`offset.metadata.max.bytes`).
pub(crate) const MAX_LEN: usize = 4_096;
const MAX_RAW_LEN: usize = raw_len(MAX_LEN);
const ID_LEN: usize = 16;
/// So many offsets from the committed one on fit, whatever is finished of them: 24,400.
pub(crate) const ALWAYS_FIT: u64 = (MAX_RAW_LEN - ID_LEN) as u64 * 8;

/// How many bytes fit into a text of this length.
const fn raw_len(len: usize) -> usize {
    (len - MARK.len()) / 4 * 3
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// What such a text says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Note {
    /// The topic that the committed offset is in, if it says so.
    pub topic_id: Option<TopicId>,
    /// What is finished beyond the offset: ascending, apart from each other, none empty.
    pub finished: Vec<Range<i64>>,
    /// What else whoever committed it wanted to know again.
    pub more: Vec<u64>,
}

/// The text for an offset in `topic_id` with `finished` beyond it (ascending, apart from each other, none empty, all after `committed`);
/// empty when there is neither.
pub(crate) fn encode(committed: i64, topic_id: Option<TopicId>, finished: &[Range<i64>]) -> String {
    within(MAX_LEN, committed, topic_id, finished)
}

/// As [`encode`], with `more` behind it: a few numbers below 2^63.
pub(crate) fn encode_with(
    committed: i64,
    topic_id: Option<TopicId>,
    finished: &[Range<i64>],
    more: &[u64],
) -> String {
    if more.is_empty() {
        return encode(committed, topic_id, finished);
    }
    let mut raw = Vec::new();
    more.iter().for_each(|number| put_number(&mut raw, *number));
    let mut behind = String::from(MORE);
    to_base64(&raw, &mut behind);
    let room = MAX_LEN.saturating_sub(behind.len()).max(MARK.len());
    let mut text = within(room, committed, topic_id, finished);
    if text.is_empty() {
        text.push_str(MARK);
    }
    text + &behind
}

/// The text, which has no more than `most` bytes.
fn within(
    most: usize,
    committed: i64,
    topic_id: Option<TopicId>,
    finished: &[Range<i64>],
) -> String {
    let most = raw_len(most);
    let mut raw = Vec::new();
    let mark = match &topic_id {
        Some(id) => {
            raw.extend_from_slice(id.as_bytes());
            MARK_WITH_ID
        }
        None => MARK,
    };
    let mut at = committed;
    for range in finished {
        let fits = raw.len();
        put_number(&mut raw, range.start.abs_diff(at));
        put_number(&mut raw, range.end.abs_diff(range.start));
        if raw.len() > most {
            if let Some(bits) = bits(most, committed, topic_id, finished) {
                return to_text(MARK_OF_BITS, &bits);
            }
            raw.truncate(fits);
            break;
        }
        at = range.end;
    }
    if raw.is_empty() {
        return String::new();
    }
    to_text(mark, &raw)
}

fn to_text(mark: &str, raw: &[u8]) -> String {
    let mut text = String::with_capacity(MARK.len() + raw.len().div_ceil(3) * 4);
    text.push_str(mark);
    to_base64(raw, &mut text);
    text
}

fn to_base64(raw: &[u8], text: &mut String) {
    for chunk in raw.chunks(3) {
        let bits = chunk.iter().enumerate().fold(0u32, |bits, (i, byte)| {
            bits | u32::from(*byte) << (16 - 8 * i)
        });
        for i in 0..=chunk.len() {
            text.push(char::from(BASE64[(bits >> (18 - 6 * i)) as usize & 63]));
        }
    }
}

/// The id, and a bit for each offset, if they fit into `most` bytes.
fn bits(
    most: usize,
    committed: i64,
    topic_id: Option<TopicId>,
    finished: &[Range<i64>],
) -> Option<Vec<u8>> {
    let len = finished.last()?.end.abs_diff(committed);
    if len > (most.saturating_sub(ID_LEN) as u64) * 8 {
        return None;
    }
    let mut raw = topic_id.map_or([0; ID_LEN], |id| *id.as_bytes()).to_vec();
    raw.resize(ID_LEN + len.div_ceil(8) as usize, 0);
    for offset in finished.iter().cloned().flatten() {
        let at = offset.abs_diff(committed) as usize;
        raw[ID_LEN + at / 8] |= 1 << (at % 8);
    }
    Some(raw)
}

/// So many stretches of finished offsets fit in any case, of the next `span` offsets.
pub(crate) fn stretches_that_fit(span: u64) -> usize {
    (MAX_RAW_LEN - ID_LEN) / (2 * number_len(span))
}

fn number_len(number: u64) -> usize {
    (u64::BITS - (number | 1).leading_zeros()).div_ceil(7) as usize
}

/// What was passed to [`encode`] with the same `committed`. Text of any other origin says nothing.
pub(crate) fn decode(committed: i64, text: &str) -> Note {
    read(committed, text).unwrap_or_default()
}

fn read(committed: i64, text: &str) -> Option<Note> {
    let (text, more) = text.split_once(MORE).unwrap_or((text, ""));
    let more = unbase64(more.as_bytes())?;
    let mut more = more.as_slice();
    let mut note = read_finished(committed, text)?;
    while !more.is_empty() {
        note.more.push(take_number(&mut more)?);
    }
    Some(note)
}

fn read_finished(committed: i64, text: &str) -> Option<Note> {
    if let Some(bits) = text.strip_prefix(MARK_OF_BITS) {
        return read_bits(committed, &unbase64(bits.as_bytes())?);
    }
    let with_id = text.strip_prefix(MARK_WITH_ID);
    let raw = unbase64(with_id.or_else(|| text.strip_prefix(MARK))?.as_bytes())?;
    let mut raw = raw.as_slice();
    let topic_id = match with_id {
        Some(_) => Some(TopicId::from_bytes(*raw.split_off(..16)?.first_chunk()?)?),
        None => None,
    };
    let mut ranges = Vec::new();
    let mut at = committed;
    while !raw.is_empty() {
        let start = at.checked_add_unsigned(take_number(&mut raw)?)?;
        let end = start.checked_add_unsigned(take_number(&mut raw)?)?;
        // A range that is empty or touches the one before was not written here.
        if end == start || start == at {
            return None;
        }
        ranges.push(start..end);
        at = end;
    }
    Some(Note {
        topic_id,
        finished: ranges,
        more: Vec::new(),
    })
}

fn read_bits(committed: i64, raw: &[u8]) -> Option<Note> {
    let (id, bits) = raw.split_first_chunk::<ID_LEN>()?;
    let mut finished: Vec<Range<i64>> = Vec::new();
    for at in 0..bits.len() * 8 {
        if bits[at / 8] >> (at % 8) & 1 == 0 {
            continue;
        }
        let offset = committed.checked_add_unsigned(at as u64)?;
        let end = offset.checked_add(1)?;
        match finished.last_mut() {
            Some(last) if last.end == offset => last.end = end,
            // The committed one is what is not finished.
            _ if at == 0 => return None,
            _ => finished.push(offset..end),
        }
    }
    Some(Note {
        topic_id: TopicId::from_bytes(*id),
        finished,
        more: Vec::new(),
    })
}

fn unbase64(text: &[u8]) -> Option<Vec<u8>> {
    let mut raw = Vec::with_capacity(text.len() / 4 * 3 + 2);
    for chunk in text.chunks(4) {
        let mut bits = 0u32;
        for (i, letter) in chunk.iter().enumerate() {
            let value = match letter {
                b'A'..=b'Z' => letter - b'A',
                b'a'..=b'z' => letter - b'a' + 26,
                b'0'..=b'9' => letter - b'0' + 52,
                b'-' => 62,
                b'_' => 63,
                _ => return None,
            };
            bits |= u32::from(value) << (18 - 6 * i);
        }
        raw.extend_from_slice(&bits.to_be_bytes()[1..][..chunk.len() - 1]);
    }
    Some(raw)
}

fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn take_number(raw: &mut &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for shift in (0..63).step_by(7) {
        let byte = *raw.split_off_first()?;
        number |= u64::from(byte & 0x7F) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init)] // one range is meant
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nothing_beyond_the_gap_is_no_text() {
        assert_eq!(encode(10, None, &[]), "");
        assert_eq!(decode(10, ""), Note::default());
    }

    #[test]
    fn the_form_is_pinned_for_those_who_restart_with_a_newer_version() {
        // 2 unfinished, 3 finished, 300 unfinished, 1 finished: 02 03 ac 02 01.
        let finished = [12..15, 315..316];
        assert_eq!(encode(10, None, &finished), "pat1:AgOsAgE");
        assert_eq!(decode(10, "pat1:AgOsAgE").finished, finished);
        assert_eq!(
            encode_with(10, None, &finished, &[3, 300]),
            "pat1:AgOsAgE.A6wC"
        );
        assert_eq!(encode_with(10, None, &[], &[0]), "pat1:.AA");
        assert_eq!(decode(10, "pat1:.AA").more, [0]);
        let topic_id = TopicId::from_bytes([1; 16]);
        for (finished, text) in [
            (&finished[..], "pat2:AQEBAQEBAQEBAQEBAQEBAQIDrAIB"),
            (&[], "pat2:AQEBAQEBAQEBAQEBAQEBAQ"),
        ] {
            assert_eq!(encode(10, topic_id, finished), text);
            let note = Note {
                topic_id,
                finished: finished.to_vec(),
                more: Vec::new(),
            };
            assert_eq!(decode(10, text), note);
        }
    }

    #[test]
    fn whatever_is_finished_of_as_many_offsets_as_always_fit_comes_back() {
        let every_second = |count| (0..count).map(|i| 2 * i + 1..2 * i + 2).collect::<Vec<_>>();
        for topic_id in [None, TopicId::from_bytes([1; 16])] {
            for count in [1, 1_500, 2_000, ALWAYS_FIT as i64 / 2] {
                let finished = every_second(count);
                let text = encode(0, topic_id, &finished);
                assert!(text.len() <= MAX_LEN);
                assert_eq!(text.starts_with(MARK_OF_BITS), count >= 2_000);
                let note = decode(0, &text);
                assert_eq!((note.topic_id, note.finished), (topic_id, finished));
            }
        }
        let stretches = |span: u64| {
            let count = stretches_that_fit(span) as i64;
            let each = span as i64 / count;
            (0..count).map(move |i| (i + 1) * each - 1..(i + 1) * each)
        };
        for span in [1 << 18, 1 << 30, 1 << 50] {
            let finished: Vec<_> = stretches(span).collect();
            let text = encode(0, TopicId::from_bytes([1; 16]), &finished);
            assert!(text.len() <= MAX_LEN);
            assert_eq!(decode(0, &text).finished, finished);
        }
    }

    #[test]
    fn what_does_not_fit_is_left_out_from_the_end() {
        let finished: Vec<_> = (0..15_000).map(|i| 2 * i + 1..2 * i + 2).collect();
        let text = encode(0, TopicId::from_bytes([1; 16]), &finished);
        assert!(text.len() <= MAX_LEN);
        let read = decode(0, &text).finished;
        assert!(read.len() > 1_500, "{}", read.len());
        assert_eq!(read, finished[..read.len()]);
    }

    #[test]
    fn text_of_another_origin_tells_nothing() {
        for text in [
            "x",
            "pat1:",
            "pat1:A",
            "pat1:AA",
            "pat1:****",
            "pat1:AAE",
            "pat1:AQA",
            "pat1:AgP_",
            "pat1:_____________w",
            "pat2:",
            "pat2:AQEBAQEBAQEBAQEBAQEB",
            "pat2:AAAAAAAAAAAAAAAAAAAAAA",
            "pat3:",
            "pat3:AAAAAAAAAAAAAAAAAAAAAA",
            "pat3:AAAAAAAAAAAAAAAAAAAAAAE",
            "pat1:AgM.gA",
            "pat1:AgM.*",
            "pat1:AgM.AA.AA",
        ] {
            assert_eq!(decode(0, text), Note::default(), "{text}");
        }
        assert_eq!(decode(i64::MAX, "pat1:AgOsAgE"), Note::default());
    }

    proptest! {
        #[test]
        fn ranges_come_back(committed in 0..i64::MAX / 2, id: [u8; 16], lengths in prop::collection::vec((1i64..1 << 40, 1i64..1 << 40), 0..200)) {
            let mut at = committed;
            let finished: Vec<_> = lengths
                .iter()
                .map(|(gap, length)| {
                    let start = at + gap;
                    at = start + length;
                    start..at
                })
                .collect();
            let topic_id = TopicId::from_bytes(id);
            let text = encode(committed, None, &finished);
            prop_assert!(text.len() <= MAX_LEN);
            let note = decode(committed, &encode(committed, topic_id, &finished));
            prop_assert_eq!((note.topic_id, note.finished), (topic_id, finished));
        }

        #[test]
        fn numbers_behind_the_ranges_come_back_and_leave_them_room(
            id: [u8; 16],
            count in 0i64..4_000,
            more in prop::collection::vec(0u64..1 << 62, 1..20),
        ) {
            let finished: Vec<_> = (0..count).map(|i| 2 * i + 1..2 * i + 2).collect();
            for topic_id in [None, TopicId::from_bytes(id)] {
                let text = encode_with(0, topic_id, &finished, &more);
                prop_assert!(text.len() <= MAX_LEN);
                let note = decode(0, &text);
                prop_assert_eq!(&note.more, &more);
                prop_assert_eq!((note.topic_id, &note.finished), (topic_id, &finished));
            }
        }

        #[test]
        fn any_text_is_read_or_passed_over(committed: i64, text in "(pat[123]:)?[A-Za-z0-9_*.-]{0,40}") {
            let ranges = decode(committed, &text).finished;
            prop_assert!(ranges.windows(2).all(|pair| pair[0].end < pair[1].start));
            prop_assert!(ranges.iter().all(|range| range.start < range.end && range.start > committed));
        }
    }
}
