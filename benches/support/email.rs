//! The event that benches encode and decode.

use pat_events::events::email::*;
use pat_events::events::prost_types::Timestamp;

/// An email as they come: some headers, two recipients, one attachment; about 700 bytes.
pub fn email(number: usize) -> EmailReceived {
    let address = |name: &str| EmailAddress {
        address: format!("{name}@example.org"),
        display_name: name.to_string(),
    };
    let header = |name: &str, value: &str| EmailHeader {
        name: name.into(),
        value: value.into(),
    };
    EmailReceived {
        email_id: format!("01a209f2-1dd1-7af4-afd1-{:012}", number % 10_000),
        tenant_id: "tenant-42".into(),
        message_id: "CAF8Q=yQ0b1@mail.example.org".into(),
        from_address: Some(address("ann")),
        to_addresses: vec![address("bob"), address("cid")],
        subject: "Minutes of the meeting on Thursday".into(),
        headers: vec![
            header(
                "Received",
                "from mx1.example.org (mx1.example.org [192.0.2.7]) by mail.example.net",
            ),
            header(
                "DKIM-Signature",
                "v=1; a=rsa-sha256; d=example.org; s=k1; bh=47DEQpj8HBSa",
            ),
            header("Content-Type", "multipart/mixed; boundary=\"b1\""),
        ],
        size_bytes: 48_213,
        meta: Some(EventMeta {
            event_id: format!("01a209f2-1dd1-7af4-bfd1-{number:012}"),
            occurred_at: Some(Timestamp {
                seconds: 1_795_463_192,
                nanos: 17_000_000,
            }),
            ..Default::default()
        }),
        ingest_protocol: IngestProtocol::Smtp.into(),
        attachments: vec![Attachment {
            attachment_id: "a-1".into(),
            filename: "minutes.pdf".into(),
            content_type: "application/pdf".into(),
            size_bytes: 40_112,
            ..Default::default()
        }],
        storage_uri: "s3://mail/2026/11/23/01a209f2".into(),
        ..Default::default()
    }
}
