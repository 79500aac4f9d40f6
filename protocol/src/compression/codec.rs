//! Which codec, at which level: names, wire numbers, and the levels each codec takes.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use super::CompressionError;

/// A compression codec of Kafka; the number is the one in a batch's attributes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Codec {
    /// No compression.
    #[default]
    None = 0,
    /// gzip (RFC 1952).
    Gzip = 1,
    /// Snappy, in the framing of xerial's Java library.
    Snappy = 2,
    /// LZ4 in its frame format, with independent blocks.
    Lz4 = 3,
    /// Zstandard (KIP-110, Kafka 2.1).
    Zstd = 4,
}

impl Codec {
    /// Every codec, in the order of their numbers.
    pub const ALL: [Codec; 5] = [
        Codec::None,
        Codec::Gzip,
        Codec::Snappy,
        Codec::Lz4,
        Codec::Zstd,
    ];

    /// The name that configurations use: `none`, `gzip`, `snappy`, `lz4`, `zstd`.
    pub const fn name(self) -> &'static str {
        match self {
            Codec::None => "none",
            Codec::Gzip => "gzip",
            Codec::Snappy => "snappy",
            Codec::Lz4 => "lz4",
            Codec::Zstd => "zstd",
        }
    }

    /// The codec in the low three bits of a batch's attributes. Fails for the numbers that Kafka has not given out.
    pub(crate) fn from_attributes(attributes: i16) -> Result<Codec, CompressionError> {
        let number = (attributes & 0b111) as u8;
        match Codec::ALL.get(usize::from(number)) {
            Some(codec) => Ok(*codec),
            None => Err(CompressionError::UnknownCodec { number }),
        }
    }

    /// The levels this codec takes; `None` where it has none to choose from.
    ///
    /// gzip and zstd take the levels of Kafka's Java client (KIP-390); `-1` is gzip's default, `0` zstd's.
    pub const fn levels(self) -> Option<RangeInclusive<i32>> {
        match self {
            Codec::Gzip => Some(-1..=9),
            Codec::Zstd => Some(-131_072..=22),
            Codec::None | Codec::Snappy | Codec::Lz4 => None,
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Codec {
    type Err = InvalidCompression;

    fn from_str(text: &str) -> Result<Codec, InvalidCompression> {
        Codec::ALL
            .into_iter()
            .find(|codec| codec.name() == text)
            .ok_or_else(|| InvalidCompression::UnknownName(text.to_owned()))
    }
}

/// A codec and the level to use it at. The default is no compression.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Compression {
    codec: Codec,
    level: Option<i32>,
}

impl Compression {
    /// No compression.
    pub const NONE: Compression = Compression::new(Codec::None);
    /// gzip at its default level, 6.
    pub const GZIP: Compression = Compression::new(Codec::Gzip);
    /// Snappy.
    pub const SNAPPY: Compression = Compression::new(Codec::Snappy);
    /// LZ4.
    pub const LZ4: Compression = Compression::new(Codec::Lz4);
    /// Zstandard at its default level, 3.
    pub const ZSTD: Compression = Compression::new(Codec::Zstd);

    /// `codec` at its default level: 6 for gzip, 3 for zstd.
    pub const fn new(codec: Codec) -> Compression {
        Compression { codec, level: None }
    }

    /// `codec` at `level`.
    ///
    /// # Errors
    /// [`InvalidCompression::Level`], which names the range, when the codec does not take the level;
    /// [`InvalidCompression::NoLevels`] when it takes none.
    pub fn with_level(codec: Codec, level: i32) -> Result<Compression, InvalidCompression> {
        let levels = codec.levels().ok_or(InvalidCompression::NoLevels(codec))?;
        // Java's gzip takes 1 to 9 and -1; 0 would store without compressing.
        if !levels.contains(&level) || (codec == Codec::Gzip && level == 0) {
            return Err(InvalidCompression::Level { codec, level });
        }
        Ok(Compression {
            codec,
            level: Some(level),
        })
    }

    /// The codec.
    pub const fn codec(self) -> Codec {
        self.codec
    }

    /// The level, where one was chosen.
    pub const fn level(self) -> Option<i32> {
        self.level
    }
}

impl From<Codec> for Compression {
    fn from(codec: Codec) -> Compression {
        Compression::new(codec)
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.level {
            Some(level) => write!(f, "{}:{level}", self.codec),
            None => write!(f, "{}", self.codec),
        }
    }
}

impl FromStr for Compression {
    type Err = InvalidCompression;

    /// Reads `zstd`, or `zstd:7` with a level.
    fn from_str(text: &str) -> Result<Compression, InvalidCompression> {
        let Some((codec, level)) = text.split_once(':') else {
            return Ok(Compression::new(text.parse()?));
        };
        let codec: Codec = codec.parse()?;
        let level = level
            .parse()
            .map_err(|_| InvalidCompression::LevelNotANumber(level.to_owned()))?;
        Compression::with_level(codec, level)
    }
}

/// A compression setting that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidCompression {
    /// There is no codec of this name.
    #[error("no codec is named {0:?}: use none, gzip, snappy, lz4 or zstd")]
    UnknownName(String),
    /// The level is outside the codec's range.
    #[error("{codec} has no level {level}: use {}", level_range(*.codec))]
    Level {
        /// The codec.
        codec: Codec,
        /// The level that it does not take.
        level: i32,
    },
    /// The codec has no levels.
    #[error("{0} has no levels: leave the level out")]
    NoLevels(Codec),
    /// What follows the colon is not a number.
    #[error("the compression level {0:?} is not a whole number")]
    LevelNotANumber(String),
}

fn level_range(codec: Codec) -> String {
    match codec.levels() {
        Some(_) if codec == Codec::Gzip => "1 to 9, or -1 for its default".to_owned(),
        Some(levels) => format!("{} to {}", levels.start(), levels.end()),
        None => "none".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_round_trip() {
        for codec in Codec::ALL {
            assert_eq!(codec.name().parse::<Codec>().unwrap(), codec);
            assert_eq!(Codec::from_attributes(codec as i16 | 0x30).unwrap(), codec);
        }
        for number in 5..8u8 {
            assert_eq!(
                Codec::from_attributes(i16::from(number)).unwrap_err(),
                CompressionError::UnknownCodec { number }
            );
        }
    }

    #[test]
    fn a_level_is_read_after_a_colon_and_held_to_the_codecs_range() {
        let zstd: Compression = "zstd:7".parse().unwrap();
        assert_eq!((zstd.codec(), zstd.level()), (Codec::Zstd, Some(7)));
        assert_eq!(zstd.to_string(), "zstd:7");
        assert_eq!("lz4".parse(), Ok(Compression::new(Codec::Lz4)));
        let message = |text: &str| text.parse::<Compression>().unwrap_err().to_string();
        assert_eq!(
            message("zstd:23"),
            "zstd has no level 23: use -131072 to 22"
        );
        assert_eq!(
            message("gzip:0"),
            "gzip has no level 0: use 1 to 9, or -1 for its default"
        );
        assert_eq!(
            message("snappy:1"),
            "snappy has no levels: leave the level out"
        );
        assert_eq!(
            message("gzip:fast"),
            "the compression level \"fast\" is not a whole number"
        );
        assert!(message("brotli").contains("none, gzip, snappy, lz4 or zstd"));
    }
}
