//! The limit of texts and payloads within an event. In: an event. Out: leave to send it, or what has to be stored elsewhere.

use super::*;
use crate::events::codec::CodecError;

fn short(what: &str, len: usize) -> Result<(), CodecError> {
    match len <= INLINE_LIMIT_BYTES {
        true => Ok(()),
        false => Err(CodecError::malformed(format!(
            "{what} has {len} bytes, and {INLINE_LIMIT_BYTES} are the most within an event: store it elsewhere, and send its URI"
        ))),
    }
}

fn short_payload(what: &str, payload: Option<&Payload>) -> Result<(), CodecError> {
    match payload.and_then(|it| it.content.as_ref()) {
        Some(payload::Content::Data(data)) => short(what, data.len()),
        Some(payload::Content::Uri(_)) | None => Ok(()),
    }
}

pub(super) fn short_parts(event: &EmailProcessed) -> Result<(), CodecError> {
    for part in event.content.iter().flat_map(|it| &it.parts) {
        if let Some(body_part::Content::Text(text)) = &part.content {
            short(&format!("the text of part {:?}", part.part_id), text.len())?;
        }
    }
    Ok(())
}

pub(super) fn short_input(event: &PluginExecutionRequired) -> Result<(), CodecError> {
    short_payload("input", event.input.as_ref())
}

pub(super) fn short_output(event: &PluginExecutionCompleted) -> Result<(), CodecError> {
    short_payload("output", event.output.as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::AnyEvent;
    use prost::Message;

    #[test]
    fn texts_and_payloads_within_an_event_have_a_limit_each() {
        let part = |len: usize| BodyPart {
            part_id: "1.2".into(),
            content: Some(body_part::Content::Text("x".repeat(len))),
            ..Default::default()
        };
        let processed = |lens: &[usize]| EmailProcessed {
            content: Some(MessageContent {
                parts: lens.iter().map(|len| part(*len)).collect(),
                ..Default::default()
            }),
            ..Default::default()
        };
        let limit = INLINE_LIMIT_BYTES;
        assert_eq!(AnyEvent::check(&processed(&[limit, limit])), Ok(()));
        let event = EmailEvents::from(processed(&[0, limit + 1]));
        let error = AnyEvent::check(&event).expect_err("too long");
        assert!(!error.may_pass());
        for told in ["\"1.2\"", "65537", "65536", "URI"] {
            assert!(error.to_string().contains(told), "{error}");
        }
        let payload = |len| {
            Some(Payload {
                content: Some(payload::Content::Data(vec![0; len])),
                ..Default::default()
            })
        };
        for (len, fits) in [(limit, true), (limit + 1, false)] {
            let required = PluginExecutionRequired {
                input: payload(len),
                ..Default::default()
            };
            let completed = PluginExecutionCompleted {
                output: payload(len),
                ..Default::default()
            };
            assert_eq!(AnyEvent::check(&required).is_ok(), fits);
            assert_eq!(AnyEvent::check(&completed).is_ok(), fits);
        }
        assert_eq!(AnyEvent::check(&EmailReceived::default()), Ok(()));
    }

    /// Fields of these types that come later need a check.
    #[test]
    fn nothing_else_holds_texts_or_payloads() {
        let set = prost_types::FileDescriptorSet::decode(FILE_DESCRIPTOR_SET)
            .expect("written by the build");
        let messages = set.file.iter().flat_map(|file| &file.message_type);
        let mut holders: Vec<String> = messages
            .flat_map(|message| {
                let fields = message.field.iter().filter(|field| {
                    let held = ["BodyPart", "Payload", "MessageContent"];
                    held.iter()
                        .any(|it| field.type_name() == format!(".api.events.v1.{it}"))
                });
                fields.map(|field| format!("{}.{}", message.name(), field.name()))
            })
            .collect();
        holders.sort();
        let checked = [
            "EmailProcessed.content",
            "MessageContent.parts",
            "PluginExecutionCompleted.output",
            "PluginExecutionRequired.input",
        ];
        assert_eq!(holders, checked);
    }
}
