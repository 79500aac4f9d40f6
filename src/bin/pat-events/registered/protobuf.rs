//! Messages by a `.proto` file of a registry, as JSON. In: the file and those that it imports. Out: messages read and written, the first of the file unless
//! their bytes say another.

use std::collections::BTreeMap;

use prost_reflect::{DescriptorPool, MessageDescriptor};
use protox::Compiler;
use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver};
use serde_json::Value;

use crate::messages;

/// How the schema itself is called among the files.
const NAME: &str = "registered.proto";
/// How deep a message can stand in others.
const DEEPEST: u64 = 32;

/// The messages of a file.
pub struct Messages(DescriptorPool);

/// Files by what others call them.
struct Files(BTreeMap<String, String>);

impl FileResolver for Files {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        match self.0.get(name) {
            Some(text) => File::from_source(name, text),
            None => Err(protox::Error::file_not_found(name)),
        }
    }
}

impl Messages {
    pub fn new(text: &str, mut imported: BTreeMap<String, String>) -> Result<Messages, String> {
        imported.insert(NAME.to_owned(), text.to_owned());
        let mut files = ChainFileResolver::new();
        files.add(Files(imported));
        files.add(GoogleFileResolver::new());
        let mut compiler = Compiler::with_file_resolver(files);
        compiler.include_imports(true);
        compiler
            .open_file(NAME)
            .map_err(|error| error.to_string())?;
        Ok(Messages(compiler.descriptor_pool()))
    }

    /// Reads a message, before which stands its place in the file.
    pub fn read(&self, mut data: &[u8]) -> Result<Value, String> {
        let descriptor =
            self.at(&place(&mut data).ok_or("it is cut off, or its place in the file is")?)?;
        messages::read(descriptor, data)
    }

    /// Writes the first message of the file, and its place before it.
    pub fn write(&self, value: Value, out: &mut Vec<u8>) -> Result<(), String> {
        let descriptor = self.at(&[0])?;
        // One zero stands for the first message.
        out.push(0);
        out.extend(messages::write(descriptor, value)?);
        Ok(())
    }

    /// The message at this place: its index in the file, then in the message that it stands in.
    fn at(&self, place: &[usize]) -> Result<MessageDescriptor, String> {
        let missing = || format!("its file has no message at {place:?}");
        let file = self.0.get_file_by_name(NAME).ok_or_else(missing)?;
        let (first, within) = place.split_first().ok_or_else(missing)?;
        let mut message = file.messages().nth(*first).ok_or_else(missing)?;
        for index in within {
            let inner = message.child_messages().nth(*index);
            message = inner.ok_or_else(missing)?;
        }
        Ok(message)
    }
}

/// Takes the place of a message from the front of its bytes: how many numbers, and the numbers, each zigzagged; a zero alone is the first message.
fn place(data: &mut &[u8]) -> Option<Vec<usize>> {
    let count = number(data)?;
    if count == 0 {
        return Some(vec![0]);
    }
    // Checked first: nothing is collected by a number that bytes say.
    (count <= DEEPEST).then_some(())?;
    (0..count)
        .map(|_| number(data).map(|it| it as usize))
        .collect()
}

fn number(data: &mut &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for shift in (0..35).step_by(7) {
        let (byte, rest) = data.split_first()?;
        *data = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            // Zigzag: no place is negative.
            return (number & 1 == 0).then_some(number >> 1);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const FILE: &str = r#"
        syntax = "proto3";
        package shop;
        import "money.proto";
        import "google/protobuf/timestamp.proto";
        message Order { string id = 1; Money total = 2; google.protobuf.Timestamp at = 3; message Line { int32 count = 1; } }
        message Other { string name = 1; }
    "#;
    const MONEY: &str = r#"syntax = "proto3"; package shop; message Money { int64 cents = 1; }"#;

    fn messages() -> Messages {
        let imported = BTreeMap::from([("money.proto".to_owned(), MONEY.to_owned())]);
        Messages::new(FILE, imported).expect("a schema")
    }

    #[test]
    fn a_message_is_read_as_it_was_written() {
        let order = json!({"id": "o-1", "total": {"cents": "7"}, "at": "2026-11-26T13:00:00Z"});
        let mut bytes = Vec::new();
        messages()
            .write(order.clone(), &mut bytes)
            .expect("written");
        assert_eq!(messages().read(&bytes), Ok(order));
    }

    #[test]
    fn bytes_say_which_message_of_the_file_they_are() {
        // One number: 1, zigzagged. Then the field 1 with "x".
        assert_eq!(
            messages().read(&[2, 2, 0x0a, 1, b'x']),
            Ok(json!({"name": "x"}))
        );
        // Two numbers: 0 and 0. Then the field 1 with 5.
        assert_eq!(messages().read(&[4, 0, 0, 8, 5]), Ok(json!({"count": 5})));
        for wrong in [
            &[][..],
            &[2],
            &[2, 6],
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[0xfe, 0xff, 0xff, 0xff, 0x0f],
        ] {
            assert!(messages().read(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn what_is_no_message_and_no_file_says_so() {
        let error = messages()
            .write(json!({"idd": "x"}), &mut Vec::new())
            .expect_err("misspelt");
        assert!(error.contains("idd"), "{error}");
        assert!(Messages::new("message {", BTreeMap::new()).is_err());
        assert!(
            Messages::new(FILE, BTreeMap::new()).is_err_and(|error| error.contains("money.proto"))
        );
    }
}
