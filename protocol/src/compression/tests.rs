//! What holds for every codec, and what holds for the formats that other clients write.

use proptest::prelude::*;

use super::*;

const LIMIT: usize = 16 << 20;

fn compress(compression: Compression, raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    Compressor::new(compression)
        .compress(raw, &mut out)
        .unwrap();
    out
}

fn decompress(codec: Codec, data: &[u8], limit: usize) -> Result<Vec<u8>, CompressionError> {
    let mut out = Buffer::new();
    Decompressor::new().decompress(codec, data, limit, &mut out)?;
    Ok(out.as_slice().to_vec())
}

/// Text that compresses, of `len` bytes.
fn text(len: usize) -> Vec<u8> {
    let words = (0u32..).flat_map(|n| format!("{n} bottles of beer on the wall, ").into_bytes());
    words.take(len).collect()
}

/// Bytes that do not compress.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 1u64;
    let bytes = std::iter::repeat_with(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 56) as u8
    });
    bytes.take(len).collect()
}

fn hex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    digits
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

#[test]
fn contexts_are_used_again_and_again() {
    let contents = [
        text(300_000),
        noise(200_000),
        text(10),
        Vec::new(),
        text(70_000),
    ];
    let mut decompressor = Decompressor::new();
    let mut back = Buffer::new();
    for codec in Codec::ALL {
        let mut compressor = Compressor::new(codec.into());
        for content in contents.iter().cycle().take(12) {
            let mut packed = vec![9];
            compressor.compress(content, &mut packed).unwrap();
            assert_eq!(packed[0], 9, "{codec} appends");
            back.clear();
            decompressor
                .decompress(codec, &packed[1..], content.len(), &mut back)
                .unwrap();
            assert!(
                back.as_slice() == content,
                "{codec}, {} bytes",
                content.len()
            );
        }
    }
}

#[test]
fn every_level_can_be_read() {
    let content = text(50_000);
    for codec in [Codec::Gzip, Codec::Zstd] {
        let levels = codec.levels().unwrap();
        for level in (-1..=*levels.end()).filter(|level| (codec, *level) != (Codec::Gzip, 0)) {
            let packed = compress(Compression::with_level(codec, level).unwrap(), &content);
            assert!(packed.len() < content.len() / 2, "{codec}:{level}");
            assert_eq!(decompress(codec, &packed, LIMIT).unwrap(), content);
        }
    }
}

#[test]
fn the_limit_holds_to_the_byte() {
    for content in [text(150_001), noise(150_001)] {
        for codec in Codec::ALL {
            let packed = compress(codec.into(), &content);
            assert_eq!(decompress(codec, &packed, content.len()).unwrap(), content);
            for limit in [0, 1, 70_000, content.len() - 1] {
                assert_eq!(
                    decompress(codec, &packed, limit).unwrap_err(),
                    CompressionError::TooLarge { codec, limit }
                );
            }
        }
    }
}

#[test]
fn truncated_data_is_an_error() {
    let content = text(1000);
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let packed = compress(codec.into(), &content);
        for len in 0..packed.len() {
            match decompress(codec, &packed[..len], LIMIT) {
                Err(CompressionError::Corrupt { .. }) => {}
                // Framed Snappy and zstd may end between blocks or frames.
                Ok(back) => assert!(back.is_empty(), "{codec} cut at {len}"),
                Err(error) => panic!("{codec} cut at {len}: {error}"),
            }
        }
    }
}

#[test]
fn raw_snappy_is_read() {
    let content = text(100_000);
    let packed = snap::raw::Encoder::new().compress_vec(&content).unwrap();
    assert_eq!(decompress(Codec::Snappy, &packed, LIMIT).unwrap(), content);
}

#[test]
fn snappy_is_written_as_xerials_library_does() {
    let packed = compress(Codec::Snappy.into(), &text(40_000));
    assert_eq!(packed[..16], *b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01");
    let first = u32::from_be_bytes(*packed[16..].first_chunk().unwrap()) as usize;
    assert_eq!(
        snap::raw::decompress_len(&packed[20..20 + first]).unwrap(),
        32 << 10
    );
}

#[test]
fn joined_streams_are_read_to_the_end() {
    let (first, second) = (text(70_000), noise(1000));
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Zstd] {
        let mut packed = compress(codec.into(), &first);
        packed.extend_from_slice(&compress(codec.into(), &second));
        let back = decompress(codec, &packed, LIMIT).unwrap();
        assert!(back == [&first[..], &second[..]].concat(), "{codec}");
        assert!(decompress(codec, &packed, first.len() + second.len() - 1).is_err());
    }
}

/// What Kafka 4.4's Java classes make of a batch with bytes after the compressed records: gzip and LZ4 are read whatever follows, Snappy
/// when it is too short for another block, zstd never.
#[test]
fn bytes_after_the_data_are_left_alone_where_java_leaves_them_alone() {
    let content = text(5_000);
    let again = |codec: Codec| compress(codec.into(), &content);
    let mut tails: Vec<Vec<u8>> = [1, 3, 4, 8, 20, 64, 40_000]
        .map(|len| vec![0; len])
        .to_vec();
    tails.push(vec![1, 2, 3]);
    tails.push(b"junk that is no magic number".to_vec());
    tails.push(vec![0x1F, 0x8B, 8]);
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        for tail in &tails {
            let packed = [&again(codec)[..], tail].concat();
            let read = match codec {
                Codec::Zstd => false,
                Codec::Snappy => tail.len() < 4,
                _ => true,
            };
            match decompress(codec, &packed, content.len()) {
                Ok(back) => assert!(read && back == content, "{codec}: {tail:?}"),
                Err(error) => assert!(!read, "{codec}: {tail:?}: {error}"),
            }
        }
    }
    let twice = [again(Codec::Lz4), again(Codec::Lz4)].concat();
    let back = decompress(Codec::Lz4, &twice, LIMIT).unwrap();
    assert!(back == content, "a second LZ4 frame is not read");
}

#[test]
fn zstd_without_a_content_size_is_read_within_the_limit() {
    // `zstd` from standard input: a checksum, and no size.
    let packed = hex(ZSTD_STREAM);
    let content = text(1270);
    assert_eq!(decompress(Codec::Zstd, &packed, LIMIT).unwrap(), content);
    // The bound of one block is 128 KiB: below, the streaming path decides.
    assert_eq!(decompress(Codec::Zstd, &packed, 1270).unwrap(), content);
    assert_eq!(
        decompress(Codec::Zstd, &packed, 1269).unwrap_err(),
        CompressionError::TooLarge {
            codec: Codec::Zstd,
            limit: 1269
        }
    );
}

#[test]
fn a_zstd_window_that_only_a_whole_frame_could_do_without_is_refused_at_every_limit() {
    // Six bytes of content in a frame whose header asks for a window of 160 MiB: a stream refuses that, one pass needs none.
    let frame = |window| {
        let mut frame = vec![0x28, 0xB5, 0x2F, 0xFD, 0, window, 0x31, 0, 0];
        frame.extend_from_slice(b"record");
        frame
    };
    for limit in [LIMIT, 6, 5] {
        let error = decompress(Codec::Zstd, &frame(0x8A), limit).unwrap_err();
        assert!(error.to_string().contains("167772160"), "{error}");
    }
    let largest = 0x88;
    for limit in [LIMIT, 6] {
        assert_eq!(
            decompress(Codec::Zstd, &frame(largest), limit).unwrap(),
            b"record"
        );
    }
    assert!(matches!(
        decompress(Codec::Zstd, &frame(largest), 5),
        Err(CompressionError::TooLarge { .. })
    ));
}

#[test]
fn lz4_with_linked_blocks_and_every_checksum_is_read() {
    let mut packed = hex(LZ4_LINKED_CHECKED);
    assert_eq!(decompress(Codec::Lz4, &packed, LIMIT).unwrap(), text(1270));
    let last = packed.len() - 1;
    packed[last] ^= 1;
    let error = decompress(Codec::Lz4, &packed, LIMIT).unwrap_err();
    assert!(
        error.to_string().contains("checksum of the content"),
        "{error}"
    );
}

#[test]
fn lz4_is_written_with_independent_blocks_of_64_kib() {
    let packed = compress(Codec::Lz4.into(), &text(100));
    assert_eq!(packed[..7], [0x04, 0x22, 0x4D, 0x18, 0x60, 0x40, 0x82]);
}

#[test]
fn linked_lz4_blocks_reach_into_the_ones_before() {
    // Two linked blocks by hand: "abcdefgh", then a match of 12 at distance 8 and five literals.
    let mut packed = vec![0x04, 0x22, 0x4D, 0x18, 0x40, 0x40, 0xC0];
    packed.extend_from_slice(&(8u32 | 1 << 31).to_le_bytes());
    packed.extend_from_slice(b"abcdefgh");
    let block = [0x08, 8, 0, 0x50, b'v', b'w', b'x', b'y', b'z'];
    packed.extend_from_slice(&(block.len() as u32).to_le_bytes());
    packed.extend_from_slice(&block);
    packed.extend_from_slice(&[0; 4]);
    assert_eq!(
        decompress(Codec::Lz4, &packed, LIMIT).unwrap(),
        b"abcdefghabcdefghabcdvwxyz"
    );
}

#[test]
fn gzip_headers_with_every_option_are_skipped() {
    let plain = compress(Codec::Gzip.into(), b"content");
    let mut packed = vec![0x1F, 0x8B, 8, 0b1_1110, 0, 0, 0, 0, 0, 3];
    packed.extend_from_slice(&[3, 0, 1, 2, 3]);
    packed.extend_from_slice(b"name\0comment\0\xAA\xBB");
    packed.extend_from_slice(&plain[10..]);
    assert_eq!(decompress(Codec::Gzip, &packed, LIMIT).unwrap(), b"content");
}

#[test]
fn gzip_checks_checksum_and_length() {
    let packed = compress(Codec::Gzip.into(), b"content");
    for from_end in 1..=8 {
        let mut packed = packed.clone();
        let at = packed.len() - from_end;
        packed[at] ^= 0x10;
        assert!(decompress(Codec::Gzip, &packed, LIMIT).is_err());
    }
}

#[test]
fn a_claimed_length_beyond_the_limit_is_refused_at_once() {
    // A zstd frame that declares 2^62 bytes; snappy that declares 2^32 - 1.
    let zstd = [
        0x28, 0xB5, 0x2F, 0xFD, 0xE0, 0, 0, 0, 0, 0, 0, 0, 0x40, 1, 0, 0,
    ];
    assert!(matches!(
        decompress(Codec::Zstd, &zstd, LIMIT),
        Err(CompressionError::TooLarge { .. })
    ));
    let snappy = [0xFF, 0xFF, 0xFF, 0xFF, 0x0F, 0, b'a'];
    assert!(decompress(Codec::Snappy, &snappy, usize::MAX).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn anything_round_trips(
        pieces in prop::collection::vec((any::<[u8; 5]>(), 0usize..5000), 0..20),
    ) {
        let content: Vec<u8> = pieces
            .iter()
            .flat_map(|(piece, len)| piece.iter().copied().cycle().take(*len))
            .collect();
        for codec in Codec::ALL {
            let packed = compress(codec.into(), &content);
            prop_assert_eq!(&decompress(codec, &packed, content.len()).unwrap(), &content);
        }
    }

    #[test]
    fn damage_and_noise_never_panic_nor_pass_the_limit(
        seed in 0usize..20_000,
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        start in any::<prop::sample::Index>(),
        limit in 0usize..30_000,
    ) {
        for codec in Codec::ALL {
            let mut packed = compress(codec.into(), &text(seed));
            for (at, bits) in &flips {
                if !packed.is_empty() {
                    let at = at.index(packed.len());
                    packed[at] ^= bits;
                }
            }
            let from = if packed.is_empty() || flips.len() < 4 { 0 } else { start.index(packed.len()) };
            if let Ok(back) = decompress(codec, &packed[from..], limit) {
                prop_assert!(back.len() <= limit);
            }
        }
    }
}

/// 1,270 bytes of [`text`] through the `zstd` program.
const ZSTD_STREAM: &str = "\
    28b52ffd04582d040072040e14b0a903008b693935f6376492adb5295d80199d08ffffffbf6ddbb6ddb66ddb53a32006\
    21b84bc0ec685849a2725caa1091235396d2219e272080334a0f8d34b7618d68ae611b694ec31ad15cc334d25cc336d2\
    9c8635727343364cc846826c0ec886fdd8888fcdf5d8301e1bd9b1b91b44141951c4233251882732260a08313e01ce06\
    dcfa";

/// The same through the `lz4` program: linked blocks, content size and checksum.
const LZ4_LINKED_CHECKED: &str = "\
    04224d186c40f6040000000000008ae8000000ff113020626f74746c6573206f662062656572206f6e20746865207761\
    6c6c2c20311f000b1f321f000b1f331f000b1f341f000b1f351f000b1f361f000b1f371f000b1f381f000b1f391f000b\
    1f3137010d0f38010c1f3139010c1f313a010c1f313b010c1f313c010c1f313d010c1f313e010c1f313f010c1f314001\
    0c1f3240010c1f3240010c1f3240010c1f3240010c1f3240010c1f3240010c1f3240010c1f3240010c1f3240010c1f32\
    40010c1f3340010c1f3340010c1f3340010c1f3340010c1f3340010c1f3340010c1f3340010c1f3340010c1f3340010c\
    1f3340010750616c6c2c20000000002f43091e";
