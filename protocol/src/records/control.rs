//! Control records: what brokers write between records, such as the markers that end a transaction (KIP-98).

use super::RecordError;

const ABORT: i16 = 0;
const COMMIT: i16 = 1;
const KEY_LEN: usize = 4;
const MARKER_LEN: usize = 6;

/// A control record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ControlRecord {
    /// The producer's records up to here, of its open transaction, are void.
    Abort {
        /// Epoch of the coordinator that wrote it.
        coordinator_epoch: i32,
    },
    /// The producer's open transaction is committed.
    Commit {
        /// Epoch of the coordinator that wrote it.
        coordinator_epoch: i32,
    },
    /// Another kind, none of a client's business: leader change, snapshot header, KRaft version, ….
    Other {
        /// The number of the kind.
        kind: i16,
    },
}

impl ControlRecord {
    /// Reads the key and value of a record from a control batch. Versions above 0 may have more fields at the end.
    ///
    /// # Errors
    /// When the key is missing or short, the value of a transaction marker likewise, or a version negative.
    pub fn parse(key: Option<&[u8]>, value: Option<&[u8]>) -> Result<ControlRecord, RecordError> {
        let &[v0, v1, k0, k1] =
            key.and_then(|key| key.first_chunk::<KEY_LEN>())
                .ok_or(RecordError::malformed(
                    "key of a control record",
                    0,
                    "a version and a kind",
                ))?;
        if i16::from_be_bytes([v0, v1]) < 0 {
            return Err(RecordError::malformed(
                "version of a control record",
                0,
                "a number that is not negative",
            ));
        }
        let kind = i16::from_be_bytes([k0, k1]);
        if kind != ABORT && kind != COMMIT {
            return Ok(ControlRecord::Other { kind });
        }
        let &[v0, v1, e0, e1, e2, e3] = value
            .and_then(|value| value.first_chunk::<MARKER_LEN>())
            .ok_or(RecordError::malformed(
            "value of a transaction marker",
            0,
            "a version and the coordinator's epoch",
        ))?;
        if i16::from_be_bytes([v0, v1]) < 0 {
            return Err(RecordError::malformed(
                "version of a transaction marker",
                0,
                "a number that is not negative",
            ));
        }
        let coordinator_epoch = i32::from_be_bytes([e0, e1, e2, e3]);
        Ok(match kind {
            ABORT => ControlRecord::Abort { coordinator_epoch },
            _ => ControlRecord::Commit { coordinator_epoch },
        })
    }

    /// The key of this record, version 0.
    pub fn key(&self) -> [u8; KEY_LEN] {
        let kind = match self {
            ControlRecord::Abort { .. } => ABORT,
            ControlRecord::Commit { .. } => COMMIT,
            ControlRecord::Other { kind } => *kind,
        };
        let [k0, k1] = kind.to_be_bytes();
        [0, 0, k0, k1]
    }

    /// The value of a transaction marker, version 0; `None` for other kinds.
    pub fn marker_value(&self) -> Option<[u8; MARKER_LEN]> {
        match self {
            ControlRecord::Abort { coordinator_epoch }
            | ControlRecord::Commit { coordinator_epoch } => {
                let [e0, e1, e2, e3] = coordinator_epoch.to_be_bytes();
                Some([0, 0, e0, e1, e2, e3])
            }
            ControlRecord::Other { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_round_trip() {
        for marker in [
            ControlRecord::Abort {
                coordinator_epoch: 7,
            },
            ControlRecord::Commit {
                coordinator_epoch: -1,
            },
        ] {
            let value = marker.marker_value().unwrap();
            assert_eq!(
                ControlRecord::parse(Some(&marker.key()), Some(&value)),
                Ok(marker)
            );
        }
        assert_eq!(
            ControlRecord::parse(Some(&[0, 0, 0, 1]), Some(&[0, 0, 0, 0, 0, 9])),
            Ok(ControlRecord::Commit {
                coordinator_epoch: 9
            })
        );
    }

    #[test]
    fn later_versions_and_other_kinds_are_read() {
        let key = [0, 1, 0, 0, 99];
        let value = [0, 1, 0, 0, 0, 3, 99, 99];
        assert_eq!(
            ControlRecord::parse(Some(&key), Some(&value)),
            Ok(ControlRecord::Abort {
                coordinator_epoch: 3
            })
        );
        assert_eq!(
            ControlRecord::parse(Some(&[0, 0, 0, 2]), None),
            Ok(ControlRecord::Other { kind: 2 })
        );
    }

    #[test]
    fn short_and_missing_fields_are_refused() {
        for (key, value) in [
            (None, None),
            (Some(&[0, 0, 0][..]), None),
            (Some(&[0, 0, 0, 1]), None),
            (Some(&[0, 0, 0, 1]), Some(&[0, 0, 0, 0, 0][..])),
            (Some(&[255, 0, 0, 1]), Some(&[0; 6])),
            (Some(&[0, 0, 0, 1]), Some(&[255; 6])),
        ] {
            assert!(
                ControlRecord::parse(key, value).is_err(),
                "{key:?} {value:?}"
            );
        }
    }
}
